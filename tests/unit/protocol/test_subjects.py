"""Subjects: what addresses become, and every way in which a subject can lie."""

from __future__ import annotations

import pytest

from landbridge.errors import Malformed
from landbridge.protocol import (
    ANYONE,
    CATALOGUE_SUBSCRIPTION,
    MESSAGE,
    PART,
    RELEASE,
    RENEW,
    CallSubject,
    ControlSubject,
    ObjectSubject,
    call_subject,
    call_subscription,
    catalogue_subject,
    check_reply,
    control_subject,
    control_subscription,
    inbox_subject,
    inbox_subscription,
    lane_subscription,
    object_subject,
    object_subscription,
    parse_call,
    parse_catalogue,
    parse_control,
    parse_object,
)

INSTANCE, CALL, CONNECTION = "0" * 31 + "a", "f" * 32, "0123456789abcdef" * 2
INBOX = inbox_subject("awi", "bob", CONNECTION, CALL, 0)


def matches(subscription: str, subject: str) -> bool:
    wanted, tokens = subscription.split("."), subject.split(".")
    return len(wanted) == len(tokens) and all(one in ("*", two) for one, two in zip(wanted, tokens, strict=True))


def test_a_request_tells_who_calls_what():
    subject = call_subject("awi", "bob-2", "geomar", "ocean", "climatology")
    assert parse_call(subject) == CallSubject("awi", "bob-2", "geomar", "ocean", "climatology")
    assert matches(call_subscription("geomar", "ocean"), subject)


@pytest.mark.parametrize("person", ["_M", "b", "a" * 63])
def test_persons_may_be_a_service_and_names_of_63_letters(person):
    assert parse_call(f"lb.call.awi.{person}.geomar.ocean._describe").person == person


def test_a_control_message_tells_which_call_it_means():
    subject = control_subject("awi", "bob", "geomar", "ocean", INSTANCE, CALL, MESSAGE)
    assert parse_control(subject) == ControlSubject("awi", "bob", "geomar", "ocean", INSTANCE, CALL, "message")
    assert matches(control_subscription("geomar", "ocean", INSTANCE), subject)
    assert not matches(lane_subscription("geomar", "ocean", INSTANCE), subject)


def test_parts_come_through_a_subscription_of_their_own():
    subject = control_subject("awi", "bob", "geomar", "ocean", INSTANCE, CALL, PART)
    assert parse_control(subject).operation == "part"
    assert matches(lane_subscription("geomar", "ocean", INSTANCE), subject)
    assert not matches(control_subscription("geomar", "ocean", INSTANCE), subject)


def test_a_question_to_all_backends_is_a_control_message_to_none_in_particular():
    subject = control_subject("awi", "bob", "geomar", "ocean", ANYONE, CALL, MESSAGE)
    assert parse_control(subject).instance == ANYONE == "0" * 32
    assert matches(control_subscription("geomar", "ocean", ANYONE), subject)
    assert not matches(control_subscription("geomar", "ocean", INSTANCE), subject)


def test_a_static_method_is_one_token():
    assert parse_call("lb.call.awi.bob.geomar.ocean.Grid:global_mean").method == "Grid:global_mean"


@pytest.mark.parametrize("method", ["Grid:", ":mean", "Grid:_private", "Grid:a:b", "_G:mean", "Grid:*", "Grid:me an"])
def test_a_method_of_a_class_that_is_none_is_malformed(method):
    with pytest.raises(Malformed):
        parse_call(f"lb.call.awi.bob.geomar.ocean.{method}")


@pytest.mark.parametrize("kind", ["object", "ref"])
@pytest.mark.parametrize("method", ["mean", RENEW, RELEASE])
def test_a_request_to_an_object_or_reference_tells_which_and_what(method, kind):
    subject = object_subject("awi", "bob", "geomar", "ocean", INSTANCE, kind, CALL, method)
    assert parse_object(subject) == ObjectSubject("awi", "bob", "geomar", "ocean", INSTANCE, kind, CALL, method)
    assert matches(object_subscription("geomar", "ocean", INSTANCE, kind), subject)
    with pytest.raises(Malformed):
        parse_control(subject)


@pytest.mark.parametrize(
    ("place", "token"),
    [(2, "Awi"), (3, "*"), (4, ""), (5, "a\n"), (6, "f" * 31), (8, "F" * 32), (7, "call"), (1, "call")]
    + [(9, wrong) for wrong in ["", "*", "_private", "__init__", "_renew\n", "mean\n", "a" * 129, "Grid:mean"]],
)
def test_a_request_to_an_object_with_a_wrong_token_is_malformed(place, token):
    tokens = object_subject("awi", "bob", "geomar", "ocean", INSTANCE, "object", CALL, "mean").split(".")
    tokens[place] = token
    with pytest.raises(Malformed):
        parse_object(".".join(tokens))


def test_a_caller_subscribes_to_its_answers():
    assert matches(inbox_subscription("awi", "bob", CONNECTION), INBOX)


def test_a_catalogue_entry_tells_its_module():
    subject = catalogue_subject("geomar", "ocean")
    assert parse_catalogue(subject) == ("geomar", "ocean")
    assert matches(CATALOGUE_SUBSCRIPTION, subject)


BAD_NAMES = [
    "",
    "*",
    ">",
    "Awi",
    "awi\n",
    "\nawi",
    "a wi",
    "awi\r",
    "a\x00i",
    "a/b",
    "ä",
    "1a",
    "a" * 64,
    "class",
    "_x",
]


@pytest.mark.parametrize("place", [2, 3, 4, 5])
@pytest.mark.parametrize("name", [*BAD_NAMES, "a.b"])
def test_a_request_with_a_token_that_is_no_name_is_malformed(place, name):
    tokens = ["lb", "call", "awi", "bob", "geomar", "ocean", "climatology"]
    tokens[place] = name
    with pytest.raises(Malformed):
        parse_call(".".join(tokens))


@pytest.mark.parametrize(
    "method",
    ["", "*", ">", "_private", "__class__", "_describe\n", "describe\n", "a-b", "a b", "m\x00", "a" * 129, "def"],
)
def test_a_request_for_what_is_no_public_method_is_malformed(method):
    with pytest.raises(Malformed):
        parse_call(f"lb.call.awi.bob.geomar.ocean.{method}")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        ".",
        "lb.call",
        "lb.call.awi.bob.geomar.ocean",
        "lb.call.awi.bob.geomar.ocean.climatology.more",
        "lb.call.awi.bob.geomar.ocean.climatology.",
        ".lb.call.awi.bob.geomar.ocean.climatology",
        "lb.ctl.awi.bob.geomar.ocean.climatology",
        "xx.call.awi.bob.geomar.ocean.climatology",
        "LB.call.awi.bob.geomar.ocean.climatology",
        "." * 10_000,
    ],
)
def test_a_request_of_another_shape_is_malformed(subject):
    with pytest.raises(Malformed):
        parse_call(subject)


GOOD_CONTROL = control_subject("awi", "bob", "geomar", "ocean", INSTANCE, CALL, "cancel").split(".")


@pytest.mark.parametrize(
    ("place", "token"),
    [(place, name) for place in (2, 3, 4, 5) for name in BAD_NAMES]
    + [
        (place, wrong)
        for place in (6, 8)
        for wrong in ["", "*", "f" * 31, "f" * 33, "F" * 32, "f" * 32 + "\n", "g" * 32]
    ]
    + [(9, wrong) for wrong in ["", "*", ">", "cancel\n", "Cancel", "a b", "a" * 17]]
    + [(7, "object"), (7, ""), (1, "call"), (0, "lb\n")],
)
def test_a_control_message_with_a_wrong_token_is_malformed(place, token):
    tokens = list(GOOD_CONTROL)
    tokens[place] = token
    with pytest.raises(Malformed):
        parse_control(".".join(tokens))


@pytest.mark.parametrize("subject", ["", ".".join(GOOD_CONTROL[:-1]), ".".join([*GOOD_CONTROL, "x"])])
def test_a_control_message_of_another_length_is_malformed(subject):
    with pytest.raises(Malformed):
        parse_control(subject)


def test_a_reply_in_the_callers_own_inbox_is_taken():
    assert check_reply(INBOX, "awi", "bob") == CALL
    assert check_reply(INBOX, "awi", "bob", CALL) == CALL
    service = inbox_subject("awi", "_M", CONNECTION, CALL, 999_999)
    assert check_reply(service, "awi", "_M") == CALL


@pytest.mark.parametrize(
    "reply",
    [
        "",
        inbox_subject("gfz", "bob", CONNECTION, CALL, 0),
        inbox_subject("awi", "anna", CONNECTION, CALL, 0),
        inbox_subject("awi", "bo", CONNECTION, CALL, 0),
        inbox_subject("bob", "awi", CONNECTION, CALL, 0),
        inbox_subject("*", "*", CONNECTION, CALL, 0),
        inbox_subject("awi", "*", CONNECTION, CALL, 0),
        inbox_subject("awi", "bob", "*", CALL, 0),
        inbox_subject("awi", "bob", CONNECTION, "*", 0),
        inbox_subject("awi", "bob", CONNECTION[:-1], CALL, 0),
        inbox_subject("awi", "bob", CONNECTION, CALL.upper(), 0),
        "_INBOX.awi.bob.>",
        f"_INBOX.awi.bob.{CONNECTION}.{CALL}",
        f"_INBOX.awi.bob.{CONNECTION}.{CALL}.",
        f"_INBOX.awi.bob.{CONNECTION}.{CALL}.-1",
        f"_INBOX.awi.bob.{CONNECTION}.{CALL}.1234567",
        f"_INBOX.awi.bob.{CONNECTION}.{CALL}.٣",
        f"{INBOX}\n",
        f"{INBOX}.more",
        f" {INBOX}",
        f"x{INBOX}",
        INBOX.lower(),
        f"lb.call.awi.bob.{CONNECTION}.{CALL}.0",
        "$JS.API.STREAM.DELETE.JOBS_awi",
    ],
)
def test_a_reply_anywhere_else_is_refused(reply):
    with pytest.raises(Malformed):
        check_reply(reply, "awi", "bob")


def test_a_reply_of_another_call_is_refused():
    with pytest.raises(Malformed, match="another call"):
        check_reply(INBOX, "awi", "bob", "e" * 32)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "lb.cat",
        "lb.cat.geomar",
        "lb.cat.geomar.ocean.x",
        "lb.cat.*.ocean",
        "lb.cat.geomar.ocean\n",
        "lb.call.geomar.ocean",
    ],
)
def test_what_is_no_catalogue_entry_is_malformed(subject):
    with pytest.raises(Malformed):
        parse_catalogue(subject)


def test_the_error_shows_a_hostile_name_without_its_control_characters():
    with pytest.raises(Malformed) as caught:
        parse_call("lb.call.\x1b[31mawi.bob.geomar.ocean.climatology")
    assert "\x1b" not in str(caught.value)
