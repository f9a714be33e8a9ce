"""Reading requests: bodies, fields, deadlines and disconnects."""
