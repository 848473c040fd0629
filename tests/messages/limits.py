"""What the vendors accept, as a check of its own: the oracle of these tests.

Each function returns the faults it finds, [] for none.
"""

import json
import re
from typing import Any

# Of markup within `<...>`, only links of ours under one of these words.
OUR_LINK = re.compile(r"<https?://[!-;=?-{}~]+\|(?:Runbook|Dashboard|Graph)>")
OUR_LABEL = re.compile(
    r"\*(?:Now|To do|Verification|Where|Severity|Began|Revision|Why|By hand|Detail|Links):\*"
)
ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")


def units(text: str) -> int:
    """Count as strictly as anybody could: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def odd_characters(text: str) -> list[str]:
    """Find controls, direction marks, surrogates, separators; line ends are looked at elsewhere."""
    return [f"odd character {c!r}" for c in text if c != "\n" and not c.isprintable()]


def active_markup(text: str) -> list[str]:
    """Find markup in mrkdwn that is none of ours."""
    rest = OUR_LABEL.sub("", OUR_LINK.sub("", text))
    faults = [f"bare {c!r}" for c in "<>" if c in rest]
    if ENTITY.search(rest):
        faults.append("bare &")
    for line in rest.split("\n"):
        if line.count("`") % 2:
            faults.append(f"odd number of backticks: {line!r}")
        prose = re.sub(r"`[^`]*`", "x", line)
        if "``" in line:
            faults.append(f"empty code: {line!r}")
        if re.search(r"(?<![0-9A-Za-z])@", prose):
            faults.append(f"mention: {line!r}")
        if re.search(r"(?:^|[^\w])([*_~])(?=\S).*?(?<=\S)\1(?:$|[^\w])", prose):
            faults.append(f"emphasis: {line!r}")
        if re.search(r":[a-z][a-z0-9_+-]*:", prose):
            faults.append(f"emoji: {line!r}")
    return faults


def slack_faults(body: dict[str, Any]) -> list[str]:
    """Check a webhook body against the documented limits, and the other one, of all blocks."""
    faults = []
    text = body["text"]
    if not text or units(text) > 4000:
        faults.append(f"text of {units(text)}")
    if "\n" in text or "://" in text:
        faults.append("text makes lines or links")
    faults += active_markup(text) + odd_characters(text)
    if body["unfurl_links"] is not False or body["unfurl_media"] is not False:
        faults.append("unfurls")
    blocks = body.get("blocks", [])
    if len(blocks) > 50:
        faults.append("too many blocks")
    if len(json.dumps(blocks, ensure_ascii=False)) > 8000:
        faults.append("blocks too long")
    for block in blocks:
        faults += _block_faults(block)
    return faults


def _block_faults(block: dict[str, Any]) -> list[str]:
    kind = block["type"]
    if kind == "header":
        text = block["text"]
        plain = text["type"] == "plain_text" and text["emoji"] is False
        fits = 0 < units(text["text"]) <= 150
        faults = [] if plain and fits else ["header"]
        said = text["text"]
        return faults + odd_characters(said) + [f"bare {c!r}" for c in "<>\n" if c in said]
    texts = [block["text"]] if kind == "section" else block["elements"]
    if kind not in ("section", "context") or not 0 < len(texts) <= 10:
        return [f"block {kind}"]
    faults = []
    for text in texts:
        if text["type"] != "mrkdwn" or text["verbatim"] is not True:
            faults.append("text is not verbatim")
        if not 0 < units(text["text"]) <= 3000:
            faults.append(f"section of {units(text['text'])}")
        faults += active_markup(text["text"]) + odd_characters(text["text"])
    return faults


def pagerduty_faults(event: dict[str, Any]) -> list[str]:
    """Check an event, its routing key still missing, against the Events API v2."""
    faults = []
    if not 0 < len(event["dedup_key"]) <= 255:
        faults.append("dedup_key")
    if event["event_action"] == "resolve":
        return faults
    payload = event["payload"]
    if event["event_action"] != "trigger" or event["client"] != "rollback-receiver":
        faults.append("action")
    if not 0 < len(payload["summary"]) <= 120 or not payload["source"]:
        faults.append("summary or source")
    if payload["severity"] not in ("critical", "error", "warning", "info"):
        faults.append("severity")
    if any(value in ("", None, [], {}) for value in payload.values()):
        faults.append("an empty field")
    if len(json.dumps(event).encode()) > 512_000 - 1000:
        faults.append("too long")
    faults += [fault for text in _texts(event) for fault in odd_characters(text)]
    for link in event.get("links", []):
        if not re.fullmatch(r"https?://[!-~]+", link["href"]) or not link["text"]:
            faults.append(f"link {link}")
    return faults


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value
    return [text for child in children for text in _texts(child)]
