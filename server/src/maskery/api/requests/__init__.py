"""Reads, parses and processes requests."""
