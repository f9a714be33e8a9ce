"""The blocking and the async client offer the same, and nothing drifts."""

import inspect

import pytest

from air import AIRefinery, AsyncAIRefinery, Authenticator
from air.images import AsyncImages, Images
from air.models import AsyncModels, Models

PAIRS = [(AIRefinery, AsyncAIRefinery), (Images, AsyncImages), (Models, AsyncModels)]


def public_methods(kind):
    return {name: member for name, member in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_the_twins_have_the_same_public_methods_all_documented(blocking, awaiting):
    assert public_methods(blocking).keys() == public_methods(awaiting).keys()
    for method in [*public_methods(blocking).values(), *public_methods(awaiting).values()]:
        assert method.__doc__


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_their_methods_take_the_same_arguments_and_answer_the_same(blocking, awaiting):
    for name, method in public_methods(blocking).items():
        twin = public_methods(awaiting)[name]
        assert inspect.iscoroutinefunction(twin)
        mine, theirs = inspect.signature(method), inspect.signature(twin)
        assert list(mine.parameters) == list(theirs.parameters)
        for parameter in mine.parameters.values():
            other = theirs.parameters[parameter.name]
            assert (parameter.kind, parameter.default) == (other.kind, other.default)
            if parameter.name not in ("requests", "images"):  # the async ones take async iterables as well
                assert parameter.annotation == other.annotation
        assert mine.return_annotation == theirs.return_annotation


def test_their_constructors_differ_in_the_http_client_alone():
    mine, theirs = inspect.signature(AIRefinery).parameters, inspect.signature(AsyncAIRefinery).parameters
    assert list(mine) == list(theirs)
    differing = {name for name in mine if mine[name] != theirs[name]}
    assert differing == {"http_client"}


def test_validate_and_its_twin_take_the_same_arguments():
    mine = inspect.signature(Authenticator.validate)
    assert mine == inspect.signature(Authenticator.validate_async)


def test_segment_takes_the_six_documented_arguments_first_and_by_position():
    parameters = list(inspect.signature(Images.segment).parameters.values())[1:]
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_position == ["image", "segment_prompt", "model", "timeout", "extra_headers", "extra_body"]
    assert parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
