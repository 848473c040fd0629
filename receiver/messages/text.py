"""Untrusted text made harmless: cut, on one line, without markup, mentions or odd links.

Rules: https://docs.slack.dev/messaging/formatting-message-text (escape `&`, `<`, `>`; what starts
bold, italic, strike-through, code and emoji). How Slack counts a limit is not documented, so a size
is counted here in UTF-16 units of the escaped text: the larger reading.
"""

import re
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

LINK = 1000
COLON = "\ua789"  # looks like a colon, and makes no emoji and no link
DOT = "\u2024"  # looks like a full stop, and makes no host name

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# These look alike, and start no markup. A zero-width space would not do: Slack takes it for the
# edge of a word, and an edge is where markup starts.
_ALIKE = str.maketrans("*_~", "\u2217\u02cd\u223c")
_RUN = re.compile(r"[*_~]+")
_MENTION = re.compile(r"(?<![0-9A-Za-z])@")
_EMOJI = re.compile(r":(?=[0-9+_'-]*[a-z][0-9a-z+_'-]*:)")
# What follows prose may begin with a colon of ours.
_EMOJI_TO_BE = re.compile(r":(?=[0-9+_'-]*[a-z][0-9a-z+_'-]*\Z)")
# Outside Slack nothing is escaped: there is no telling who reads it as what.
_QUOTES = str.maketrans("<>`", "\u2039\u203a'")
_SCHEME = re.compile(r":(?=//)|(?i:(?<=javascript)|(?<=vbscript)|(?<=mailto)|(?<=data)|(?<=tel)):")
_WWW = re.compile(r"(?i)(?<=www)\.")
_HOST = re.compile(r"(?<=\w)\.(?=[^\W\d_])")
_MARKDOWN_LINK = re.compile(r"\](?=\()")
_AUTHORITY = re.compile(r"[0-9A-Za-z._:\[\]-]+")
_DIGEST = re.compile(r"(@sha256:[0-9a-f]{7})[0-9a-f]+")
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


def one_line(text: str, limit: int) -> str:
    """Return at most `limit` code points, without controls, direction marks and surrogates."""
    # Cut before the work, so that a megabyte costs no more than a line.
    words = " ".join(text[: 4 * limit + 1000].split())
    return cut("".join(c for c in words if c.isprintable()), limit)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its beginning with `…`, of at most `limit` code points."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def size(text: str) -> int:
    """Return how long `text` is in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def entities(line: str, limit: int) -> str:
    """Return `line` with `&`, `<`, `>` escaped, of at most `limit` units, no entity cut in half."""
    pieces = [_ENTITIES.get(char, char) for char in line]
    if sum(map(size, pieces)) <= limit:
        return "".join(pieces)
    kept, left = [], limit - 1
    for piece in pieces:
        left -= size(piece)
        if left < 0:
            break
        kept.append(piece)
    return "".join(kept) + "…"


def escape(text: str, limit: int) -> str:
    """Return untrusted text for Slack: one line that is no markup, mention or emoji."""
    line = one_line(text, limit).replace("`", "'")
    line = _RUN.sub(_defused, line)
    line = _MENTION.sub("\uff20", line)
    return entities(_EMOJI_TO_BE.sub(COLON, _EMOJI.sub(COLON, line)), limit)


def _defused(match: re.Match[str]) -> str:
    """Keep a run of `*`, `_` or `~` within a word or on its own, where it marks nothing."""
    line, run = match.string, match.group()
    before, after = line[: match.start()][-1:], line[match.end() :][:1]
    inert = (before.isalnum() and after.isalnum()) or before == after == " "
    return run if inert else run.translate(_ALIKE)


def code(text: str, limit: int) -> str:
    """Return untrusted text as a code span, "" for nothing. The backticks are not in `limit`."""
    line = entities(one_line(text, limit).replace("`", "'"), limit)
    return f"`{line}`" if line else ""


def plain(text: str, limit: int) -> str:
    """Return an untrusted name or value for plain text: one line that nothing makes active.

    Whatever shows it may make links of what looks like one, mentions, or read it as Markdown.
    """
    line = one_line(text, limit).translate(_QUOTES)
    line = _RUN.sub(_defused, line)
    line = _MENTION.sub("\uff20", line)
    line = _MARKDOWN_LINK.sub("] ", line)
    line = _SCHEME.sub(COLON, _WWW.sub(DOT, line))
    return cut(_EMOJI.sub(COLON, line), limit)


def prose(text: str, limit: int) -> str:
    """Return untrusted prose for plain text: as `plain`, and nothing in it reads as a host name.

    Names keep their dots: an image reference is there to be copied.
    """
    return _HOST.sub(DOT, _EMOJI_TO_BE.sub(COLON, plain(text, limit)))


def image(reference: str) -> str:
    """Return an image reference with seven digits of its digest, as people compare them."""
    return _DIGEST.sub(r"\1", reference)


def is_name(text: str) -> bool:
    """Return whether `text` is a Kubernetes object name (RFC 1123): safe within a command line."""
    return _NAME.fullmatch(text) is not None


def link(url: str, limit: int = LINK) -> str:
    """Return a URL that is safe to follow and to print within `<…|…>`, else "".

    Only http and https, with a plain host: no credentials, no look-alike letters, no backslash.
    What is left of odd characters is percent-encoded. Longer than `limit` is no link.
    """
    url = url.strip() if len(url) <= limit else ""
    if any(ord(char) < 32 or ord(char) == 127 for char in url):  # noqa: PLR2004 - ASCII controls
        return ""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        safe = quote(url, safe="%/:?#[]@!$&'()*+,;=~")
    except ValueError:
        # Not a URL, no port, or a lone surrogate.
        return ""
    if not fine or not _AUTHORITY.fullmatch(parts.netloc) or len(safe) > limit:
        return ""
    return safe


def moment(at: datetime) -> str:
    """Return a time as people all over the world read it: in UTC, to the second."""
    at = utc(at)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at.tzinfo is UTC else at.isoformat()


def utc(at: datetime) -> datetime:
    """Return a time in UTC; the first or last hours of all time stay in another zone."""
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        return at


def duration(seconds: float) -> str:
    """Return `2 h 5 min`, `5 min 3 s` or `3 s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    units = [(hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{count} {unit}" for count, unit in units if count][:2]
    return " ".join(shown) or "0 s"
