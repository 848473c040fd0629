"""What the vendors accept, as a check of its own: the oracle of these tests.

Each function returns the faults it finds, [] for none.
"""

import json
import re
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from receiver.messages import Email, Short

# Of markup within `<...>`, only links of ours under one of these words.
OUR_LINK = re.compile(r"<((?i:https?)://[!-;=?-{}~]+)\|(?:Runbook|Dashboard|Graph|Silence)>")
OUR_LABEL = re.compile(
    r"\*(?:Fallback|Now|To do|Verification|Recovered|Where|Severity|Began|Patched|Revision"
    r"|Not reverted|Why|By hand|Detail|Counted|Links|(?:Undo this|Roll back)(?: by API)?"
    r"|(?:Approve|Reject|Resume|Abort|Log) by API|Take back|Canary"
    r"|Reach the API|Status|History):\*"
)
# The same where nothing is marked up.
OUR_PLAIN_LINK = re.compile(
    r"(?:Runbook|Dashboard|Graph|Silence)(?: of [^\n]*)?: ((?i:https?)://[!-;=?-{}~]+)"
)
OUR_CURL = re.compile(
    r"by API: curl -sS (?:-X POST )?-H \"Authorization: Bearer \$TOKEN\"(?: -d '\{[^'\n]*\}')?"
    r" https?://[-a-z0-9.:]+/api/v1/deployments/[-a-z0-9.]+/[-a-z0-9.]+"
    r"/(?:rollback|release/(?:approve|reject|resume|abort|log\.md))"
)
ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")


def units(text: str) -> int:
    """Count as strictly as anybody could: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def odd_characters(text: str) -> list[str]:
    """Find controls, direction marks, surrogates, separators; line ends are looked at elsewhere."""
    return [f"odd character {c!r}" for c in text if c != "\n" and not c.isprintable()]


def odd_link(url: str) -> list[str]:
    """Find what makes a URL lead elsewhere than it seems to, or break out of its place."""
    plain = re.fullmatch(r"(?i)https?://[a-z0-9._:\[\]-]+(?:[/?#][!-;=?-{}~]*)?", url)
    return [] if plain else [f"link {url}"]


def active_markup(text: str) -> list[str]:
    """Find markup in mrkdwn that is none of ours."""
    rest = OUR_LABEL.sub("", OUR_LINK.sub("", text))
    faults = [f"bare {c!r}" for c in "<>" if c in rest]
    for url in OUR_LINK.findall(text):
        faults += odd_link(url)
    if ENTITY.search(rest):
        faults.append("bare &")
    for line in rest.split("\n"):
        if line.count("`") % 2:
            faults.append(f"odd number of backticks: {line!r}")
        prose = re.sub(r"`[^`]*`", "x", line)
        if "``" in line:
            faults.append(f"empty code: {line!r}")
        faults += _spoken_markup(prose)
    return faults


def _spoken_markup(line: str) -> list[str]:
    """Find mentions, emphasis and emoji in prose, wherever that is shown."""
    faults = []
    if re.search(r"(?<![0-9A-Za-z])@", line):
        faults.append(f"mention: {line!r}")
    if re.search(r"(?:^|[^\w])([*_~])(?=\S).*?(?<=\S)\1(?:$|[^\w])", line):
        faults.append(f"emphasis: {line!r}")
    if re.search(r":[a-z][a-z0-9_+-]*:", line):
        faults.append(f"emoji: {line!r}")
    return faults


def plain_markup(text: str) -> list[str]:
    """Find what a reader of plain text, or of Markdown, would make active, and is none of ours."""
    rest = OUR_CURL.sub("", OUR_PLAIN_LINK.sub("", text))
    faults = [f"bare {c!r}" for c in "<>`" if c in rest]
    for url in OUR_PLAIN_LINK.findall(text):
        faults += odd_link(url)
    for line in rest.split("\n"):
        faults += _spoken_markup(line)
        if re.search(r"(?i)://|www\.|\]\(|(?:javascript|vbscript|data|mailto|tel):", line):
            faults.append(f"link: {line!r}")
    return faults


def slack_faults(body: dict[str, Any], mention: str = "") -> list[str]:
    """Check a body against the documented limits, and the other one, of all blocks.

    `mention` is that of the configuration: at the very beginning it may stand as it is.
    """
    faults = []
    text = body["text"].removeprefix(f"{mention} ") if mention else body["text"]
    if not text or units(body["text"]) > 4000:
        faults.append(f"text of {units(text)}")
    if "\n" in text or "://" in text:
        faults.append("text makes lines or links")
    faults += active_markup(text) + odd_characters(text)
    if body["unfurl_links"] is not False or body["unfurl_media"] is not False:
        faults.append("unfurls")
    blocks = body.get("blocks", [])
    if len(blocks) > 12:
        faults.append("too many blocks")
    if len(json.dumps(blocks, ensure_ascii=False)) > 8000:
        faults.append("blocks too long")
    for block in blocks:
        faults += _block_faults(block, mention) + _block_kit_faults(block)
    return faults


def _block_kit_faults(block: dict[str, Any]) -> list[str]:
    """Ask Slack's own models: they know the limits of each kind, and which fields it has."""
    read = Block.parse(block)
    if read is None:
        return [f"no block: {block}"]
    try:
        read.validate_json()
    except SlackObjectFormationError as error:
        return [str(error)]
    return [] if read.to_dict() == block else [f"fields that Slack does not know: {block}"]


def _block_faults(block: dict[str, Any], mention: str) -> list[str]:
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
        said = text["text"].removeprefix(mention) if kind == "section" else text["text"]
        faults += active_markup(said) + odd_characters(said)
    return faults


def pagerduty_faults(event: dict[str, Any]) -> list[str]:
    """Check an event, its routing key still missing, against the Events API v2."""
    faults = []
    if not 0 < len(event["dedup_key"]) <= 255:
        faults.append("dedup_key")
    if event["event_action"] == "resolve":
        return faults
    if event["event_action"] != "trigger" or event["client"] != "rollback-receiver":
        faults.append("action")
    if not 0 < len(event["payload"]["summary"]) <= 120:
        faults.append("summary")
    if event["payload"]["severity"] not in ("critical", "error", "warning", "info"):
        faults.append("severity")
    known = {"event_action", "dedup_key", "client", "client_url", "payload", "links"}
    return faults + _event_faults(event, known)


def change_faults(event: dict[str, Any]) -> list[str]:
    """Check a change event, its routing key still missing."""
    return _event_faults(event, {"payload", "links"})


def _event_faults(event: dict[str, Any], known: set[str]) -> list[str]:
    payload = event["payload"]
    faults = [f"field {key}" for key in event.keys() - known]
    if not 0 < len(payload["summary"]) <= 1024 or not payload["source"]:
        faults.append("summary or source")
    if any(value in ("", None, [], {}) for value in _values(payload)):
        faults.append("an empty field")
    if len(json.dumps(event).encode()) > 512_000 - 1000:
        faults.append("too long")
    for text in _texts(payload):
        faults += odd_characters(text) + plain_markup(_as_said(text))
    for link in event.get("links", []):
        if set(link) != {"href", "text"} or not link["text"]:
            faults.append(f"fields of link {link}")
        faults += odd_link(link["href"]) + odd_characters(link["text"]) + plain_markup(link["text"])
    return faults


def _as_said(text: str) -> str:
    """Return a field as it stands in an e-mail: after its label."""
    return f"by API: {text}" if text.startswith("curl ") else text


def webhook_faults(said: dict[str, Any]) -> list[str]:
    """Check the JSON for other programs: harmless prose, safe URLs, nothing empty, and bounded."""
    faults = [] if json.loads(json.dumps(said)) == said else ["no plain data"]
    if said["version"] != "rollback-receiver/v1":
        faults.append("version")
    if len(json.dumps(said).encode()) > 1_000_000:
        faults.append("too long")
    faults += [fault for text in _texts(said) for fault in odd_characters(text)]
    whole = {key: value for key, value in said.items() if key != "alerts"}
    if any(value in ("", None, [], {}) for value in whole.values()):
        faults.append("an empty field")
    for part in (said, *said["alerts"]):
        for key in ("summary", "description", "detail", "actor", "actor_reason"):
            faults += plain_markup(part.get(key, "")) + _host_names(part.get(key, ""))
        for key, value in part.items():
            faults += odd_link(value) if key.endswith("_url") else []
    return faults


def _host_names(text: str) -> list[str]:
    """Find what reads as the name of a host: some make a link even of that."""
    return [f"host: {text!r}"] if re.search(r"\w\.[^\W\d_]", text) else []


def email_faults(said: Email) -> list[str]:
    """Check an e-mail: one line of subject, harmless text, and no header but the one meant."""
    faults = odd_characters(said.subject) + plain_markup(said.subject)
    if not 0 < len(said.subject) <= 150 or "\n" in said.subject:
        faults.append("subject")
    message = EmailMessage(policy=SMTP)
    message["Subject"] = said.subject
    message.set_content(said.text)
    heads = message.as_bytes().split(b"\r\n\r\n")[0]
    names = [line.split(b":")[0] for line in heads.split(b"\r\n") if not line.startswith(b" ")]
    if sorted(names) != [
        *(b"Content-Transfer-Encoding", b"Content-Type", b"MIME-Version", b"Subject")
    ]:
        faults.append(f"headers: {names}")
    if not 0 < len(said.text) <= 30_000:
        faults.append(f"text of {len(said.text)}")
    return faults + odd_characters(said.text) + plain_markup(said.text)


def short_faults(said: Short) -> list[str]:
    """Check the short form."""
    faults = odd_characters(said.title) + plain_markup(said.title)
    if not 0 < len(said.title) <= 120 or "\n" in said.title or not 0 < len(said.body) <= 1500:
        faults.append("length")
    return faults + odd_characters(said.body) + plain_markup(said.body)


def _values(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return [value]
    children = value.values() if isinstance(value, dict) else value
    return [value, *(each for child in children for each in _values(child))]


def _texts(value: Any) -> list[str]:
    return [each for each in _values(value) if isinstance(each, str)]
