from datetime import UTC, datetime, timedelta, timezone

import pytest

from receiver.messages import text
from tests.messages.limits import active_markup, plain_markup, units


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain", "plain"),
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("&amp;", "&amp;amp;"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U1>", "&lt;\uff20U1&gt;"),
        ("<https://evil.example|Runbook>", "&lt;https://evil.example|Runbook&gt;"),
        ("@here", "\uff20here"),
        ("ann@example.com", "ann@example.com"),
        ("`code`", "'code'"),
        ("*bold*", "\u2217bold\u2217"),
        ("~gone~", "\u223cgone\u223c"),
        ("_sloped_", "\u02cdsloped\u02cd"),
        ("error_rate_total", "error_rate_total"),
        ("a * b", "a * b"),
        (":fire: now", "\ua789fire: now"),
        ("now :fire", "now \ua789fire"),
        ("at 12:30:45", "at 12:30:45"),
        ("one\ntwo\r\n\tthree", "one two three"),
        ("a\x00b\x1b[31mc", "ab[31mc"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("lone \ud800 half", "lone  half"),
        ("a\u2028b", "a b"),
        ("", ""),
    ],
)
def test_untrusted_text_is_shown_as_text(said: str, shown: str) -> None:
    assert text.escape(said, 300) == shown
    assert active_markup(shown) == []


@pytest.mark.parametrize(
    ("said", "name", "prose"),
    [
        ("plain", "plain", "plain"),
        ("a & b", "a & b", "a & b"),
        ("<@U1> `x`", "\u2039\uff20U1\u203a 'x'", "\u2039\uff20U1\u203a 'x'"),
        ("@everyone", "\uff20everyone", "\uff20everyone"),
        ("shop/api:v1@sha256:ab", "shop/api:v1@sha256:ab", "shop/api:v1@sha256\ua789ab"),
        ("registry.example/a:1.2", "registry.example/a:1.2", "registry\u2024example/a:1.2"),
        ("https://x.example", "https\ua789//x.example", "https\ua789//x\u2024example"),
        ("www.x.example", "www\u2024x.example", "www\u2024x\u2024example"),
        ("JavaScript:x mailto:a@b.c", "JavaScript\ua789x mailto\ua789a@b.c", None),
        ("[a](b)", "[a] (b)", "[a] (b)"),
        ("*bold* _x_", "\u2217bold\u2217 \u02cdx\u02cd", "\u2217bold\u2217 \u02cdx\u02cd"),
        ("error_rate_total", "error_rate_total", "error_rate_total"),
        (":fire: x", "\ua789fire: x", "\ua789fire: x"),
        ("ends :fire", "ends :fire", "ends \ua789fire"),
        ("one\ntwo\x1b[2J\u202e\ud800", "one two[2J", "one two[2J"),
    ],
)
def test_plain_text_makes_nothing_active(said: str, name: str, prose: str | None) -> None:
    assert text.plain(said, 300) == name
    if prose is not None:
        assert text.prose(said, 300) == prose
    assert plain_markup(text.plain(said, 300)) == []


def test_plain_text_that_grows_is_cut_again() -> None:
    assert text.plain("[a](b)" * 2, 12) == "[a] (b)[a] …"


@pytest.mark.parametrize(
    ("said", "limit", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("&&", 10, "&amp;&amp;"),
        ("&&", 9, "&amp;…"),
        ("&&", 5, "…"),
        ("🔥🔥🔥", 6, "🔥🔥🔥"),
        ("🔥🔥🔥", 5, "🔥🔥…"),
        ("🔥🔥🔥", 4, "🔥…"),
    ],
)
def test_escaped_text_fits_and_no_entity_is_cut(said: str, limit: int, shown: str) -> None:
    assert text.escape(said, limit) == shown
    assert units(shown) <= limit


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a`b``c", "`a'b''c`"),
        ("a&b<c>", "`a&amp;b&lt;c&gt;`"),
        ("a\nb", "`a b`"),
        ("*_~", "`*_~`"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_code_stays_within_its_backticks(said: str, shown: str) -> None:
    assert text.code(said, 100) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://wiki.example.com/a?b=c&d=e#f", "https://wiki.example.com/a?b=c&d=e#f"),
        ("http://prom:9090/graph?g0.expr=up", "http://prom:9090/graph?g0.expr=up"),
        ("http://my_host/", "http://my_host/"),
        ("https://[::1]:3000/d", "https://[::1]:3000/d"),
        ("HTTPS://Wiki.example.com/", "HTTPS://Wiki.example.com/"),
        (" https://x.example/ ", "https://x.example/"),
        ("https://x.example/a b|c>d", "https://x.example/a%20b%7Cc%3Ed"),
        ('https://x.example/`"<', "https://x.example/%60%22%3C"),
        ("https://x.example/%7B%22", "https://x.example/%7B%22"),
        ("https://x.example/ü", "https://x.example/%C3%BC"),
        ("https://x.example/\u202e", "https://x.example/%E2%80%AE"),
    ],
)
def test_a_link_is_a_plain_url(url: str, shown: str) -> None:
    assert text.link(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://x.example/",
        "//x.example/",
        "x.example",
        "https://",
        "https:///path",
        "https://ann:pw@x.example/",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://good.example\\.evil.example/",
        "https://exаmple.com/",  # noqa: RUF001 - a Cyrillic letter in the host is the point
        "https://x.example:port/",
        "https://x.example:99999/",
        "https://[::1/",
        "https://x.example/\n<!channel>",
        "java\tscript:alert(1)",
        "https://x.example/\x00",
        "https://x.example/\ud800",
        "https://x.example/" + "a" * 1000,
        "https://x.example/" + "ü" * 400,
        "https://<!channel>/",
        "https://x|y/",
    ],
)
def test_what_is_no_plain_url_is_no_link(url: str) -> None:
    assert text.link(url) == ""


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("checkout", True),
        ("a", True),
        ("my-app.v2", True),
        ("0" * 253, True),
        ("0" * 254, False),
        ("a" * 1_000_000, False),
        ("", False),
        ("-a", False),
        ("a-", False),
        ("a..b", False),
        ("A", False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_a_name_is_what_kubernetes_takes_for_one(name: str, *, fine: bool) -> None:
    assert text.is_name(name) is fine


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02 03:04:05 UTC"),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02 01:04:05 UTC",
        ),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05 UTC"),  # noqa: DTZ001 - naive is the point
        (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            "0001-01-01T00:00:00+02:00",
        ),
    ],
)
def test_a_moment_is_shown_in_utc(at: datetime, shown: str) -> None:
    assert text.moment(at) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (243, "4 min 3 s"), (7384, "2 h 3 min")],
)
def test_a_duration_is_shown_in_two_units(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_a_digest_is_shortened_as_people_compare_it() -> None:
    assert text.image("r/a:1@sha256:" + "0123456789abcdef" * 4) == "r/a:1@sha256:0123456"
    assert text.image("r/a:1") == "r/a:1"
