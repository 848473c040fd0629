"""What the API server says of a token: asked once, kept for ten seconds, and never guessed."""

import asyncio
from pathlib import Path

import pytest

from receiver.controller.ports import Act, Identity
from receiver.errors import Conflict, Denied, Forbidden, Rejected, Unavailable
from receiver.web import Identities
from receiver.web.identities import AT_ONCE, KEPT, LONGEST_NAME, LONGEST_TOKEN, MOST, Known
from tests.virtual import LoopClock, virtual
from tests.web.reviewed import ALICE, AUDIENCE, FakeReviews

HEADER = "Bearer a.l.ice"
ACT = Act(verb="patch", group="apps", resource="deployments", namespace="shop", name="checkout")


def made(reviews: FakeReviews, *ours: Path) -> Identities:
    return Identities(reviews, LoopClock(), ours=map(str, ours))


async def alice(identities: Identities) -> Known:
    known = await identities.known(HEADER, AUDIENCE)
    assert known is not None
    return known


@virtual
async def test_an_answer_is_kept_for_ten_seconds_and_no_longer() -> None:
    assert KEPT == 10
    reviews = FakeReviews()
    identities = made(reviews)
    for seconds, questions in ((0, 2), (9.9, 2), (0.1, 4), (9.9, 4), (0.1, 6)):
        await asyncio.sleep(seconds)
        known = await alice(identities)
        assert known.identity == ALICE
        assert await identities.permits(known, ACT)
        assert len(reviews.asked) == questions


@virtual
async def test_the_ten_seconds_begin_with_the_question() -> None:
    reviews = FakeReviews(gate=asyncio.Event())
    identities = made(reviews)
    asking = asyncio.create_task(alice(identities))
    await asyncio.sleep(4)
    assert reviews.gate is not None
    reviews.gate.set()
    await asking
    await asyncio.sleep(5.9)
    await alice(identities)
    assert len(reviews.asked) == 1
    await asyncio.sleep(0.1)
    await alice(identities)
    assert len(reviews.asked) == 2


@virtual
async def test_a_no_is_kept_as_long_as_a_yes() -> None:
    reviews = FakeReviews(may=lambda _, __: False)
    identities = made(reviews)
    known = await alice(identities)
    for _ in range(2):
        assert not await identities.permits(known, ACT)
        assert await identities.known("Bearer n.o.body", AUDIENCE) is None
    assert reviews.asked == ["a.l.ice", ACT, "n.o.body"]
    reviews.may = lambda _, __: True
    await asyncio.sleep(10)
    assert await identities.permits(known, ACT)


@virtual
async def test_each_audience_and_each_act_is_a_question_of_its_own() -> None:
    reviews = FakeReviews(may=lambda _, act: act.name == "checkout")
    identities = made(reviews)
    known = await alice(identities)
    assert await identities.known(HEADER, "another") is None
    assert await identities.permits(known, ACT)
    other = Act(verb="patch", group="apps", resource="deployments", namespace="shop", name="cart")
    assert not await identities.permits(known, other)
    assert reviews.asked == ["a.l.ice", "a.l.ice", ACT, other]


@virtual
async def test_two_tokens_of_one_name_are_judged_apart() -> None:
    second = Identity(username=ALICE.username, groups=("another",))
    reviews = FakeReviews(
        tokens={"a.l.ice": ALICE, "a.l.2": second}, may=lambda who, _: who.groups == ("another",)
    )
    identities = made(reviews)
    assert not await identities.permits(await alice(identities), ACT)
    known = await identities.known("Bearer a.l.2", AUDIENCE)
    assert known is not None
    assert await identities.permits(known, ACT)


@virtual
async def test_the_same_question_is_asked_once_at_a_time() -> None:
    reviews = FakeReviews(gate=asyncio.Event())
    identities = made(reviews)
    asking = [asyncio.create_task(alice(identities)) for _ in range(5)]
    await asyncio.sleep(1)
    asking[0].cancel()  # who leaves takes the answer away from nobody
    assert reviews.gate is not None
    reviews.gate.set()
    assert [(await each).identity for each in asking[1:]] == [ALICE] * 4
    assert reviews.asked == ["a.l.ice"]


@virtual
async def test_a_failure_is_told_to_all_who_wait_and_not_kept() -> None:
    reviews = FakeReviews(gate=asyncio.Event(), error=Unavailable("not reached"))
    identities = made(reviews)
    asking = [asyncio.create_task(alice(identities)) for _ in range(3)]
    await asyncio.sleep(1)
    assert reviews.gate is not None
    reviews.gate.set()
    for each in asking:
        with pytest.raises(Rejected):
            await each
    reviews.error = None
    await alice(identities)
    assert len(reviews.asked) == 2


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the Kubernetes API is not reached"),
        Unavailable("the Kubernetes API answered 500", ambiguous=True),
        Conflict("409"),
        Forbidden("we may not create tokenreviews.authentication.k8s.io: 403 Forbidden"),
        Denied("400 BadRequest"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
@virtual
async def test_what_cannot_be_asked_is_a_503_that_says_why(error: Exception) -> None:
    reviews = FakeReviews()
    identities = made(reviews)
    known = await alice(identities)
    reviews.error = error
    await asyncio.sleep(10)
    for asking in (identities.known(HEADER, AUDIENCE), identities.permits(known, ACT)):
        with pytest.raises(Rejected) as raised:
            await asking
        assert (raised.value.status, raised.value.reason) == (503, "auth_unavailable")
        assert str(error) in str(raised.value)


NO_TOKENS = {
    "nothing": "",
    "no token": "Bearer ",
    "another scheme": "Basic a.l.ice",
    "no scheme": "a.l.ice",
    "no JWT": "Bearer alice",
    "a part too few": "Bearer a.b",
    "a part too many": "Bearer a.b.c.d",
    "an empty part": "Bearer a..c",
    "more after it": "Bearer a.l.ice x",
    "not ascii": "Bearer a.l.\udcff",
    "a quote": 'Bearer a.l."',
    "too long": "Bearer a.b." + "c" * LONGEST_TOKEN,
}


@pytest.mark.parametrize("header", NO_TOKENS.values(), ids=NO_TOKENS)
@virtual
async def test_what_can_be_no_token_is_nobody_and_stays_here(header: str) -> None:
    reviews = FakeReviews(tokens={header.removeprefix("Bearer "): ALICE})
    assert await made(reviews).known(header, AUDIENCE) is None
    assert reviews.asked == []


@virtual
async def test_the_longest_token_is_asked_about() -> None:
    token = "a.b." + "c" * (LONGEST_TOKEN - 4)
    reviews = FakeReviews(tokens={token: ALICE})
    assert await made(reviews).known(f"bearer {token}", AUDIENCE) is not None


@virtual
async def test_a_secret_of_ours_is_never_shown_even_where_it_looks_like_a_token(
    tmp_path: Path,
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text("o.w.n\n")
    other.write_text("else")
    reviews = FakeReviews(tokens={"o.w.n": ALICE, "n.e.w": ALICE})
    identities = made(reviews, own, other, tmp_path / "missing")
    assert await identities.known("Bearer o.w.n", AUDIENCE) is None
    assert reviews.asked == []
    assert await identities.known("Bearer n.e.w", AUDIENCE) is not None


@virtual
async def test_nonsense_fills_no_memory_and_takes_no_right_answer_away() -> None:
    reviews = FakeReviews()
    identities = made(reviews)
    known = await alice(identities)
    assert await identities.permits(known, ACT)
    for index in range(MOST + 100):
        assert await identities.known(f"Bearer x.y.{index}", AUDIENCE) is None
        if index % 500 == 0:
            await alice(identities)  # who is used stays
    assert len(identities._identities) == MOST
    await alice(identities)
    assert await identities.permits(known, ACT)
    assert (reviews.asked.count("a.l.ice"), reviews.asked.count(ACT)) == (1, 1)
    assert len(identities._permits) == 1


@virtual
async def test_more_questions_at_a_time_than_bearable_are_not_asked() -> None:
    reviews = FakeReviews(gate=asyncio.Event())
    identities = made(reviews)
    asking = [
        asyncio.create_task(identities.known(f"Bearer x.y.{index}", AUDIENCE))
        for index in range(AT_ONCE)
    ]
    await asyncio.sleep(1)
    with pytest.raises(Rejected, match="too many questions at a time") as raised:
        await identities.known(HEADER, AUDIENCE)
    assert raised.value.status == 503
    assert reviews.gate is not None
    reviews.gate.set()
    assert await asyncio.gather(*asking) == [None] * AT_ONCE
    await alice(identities)


@virtual
async def test_no_token_is_kept_or_shown() -> None:
    identities = made(FakeReviews())
    known = await alice(identities)
    assert "a.l.ice" not in repr(known)
    assert repr(known.digest) not in repr(known)
    assert not [key for key in identities._identities._answers if "a.l.ice" in repr(key)]


NAMES = [
    ("system:serviceaccount:shop:alice", "system:serviceaccount:shop:alice"),
    ("alice\r\nBcc: all", "aliceBcc: all"),
    ("\x1b[31malice\u202e", "[31malice"),
    ("  alice  ", "alice"),
    ("a" * (LONGEST_NAME + 1), "a" * LONGEST_NAME),
    ("\x00\n", "(no readable name)"),
]


@pytest.mark.parametrize(("username", "name"), NAMES)
def test_a_name_is_one_readable_bounded_line(username: str, name: str) -> None:
    assert Known(identity=Identity(username=username), digest=b"").name == name
