"""How the emulator processes one file: its class, its title, its references, and no damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.content import Repository
from emulator.parsing import Outcome, classify

TOPIC = (
    '<!DOCTYPE topic PUBLIC "-//OASIS//DTD DITA Topic//EN" "topic.dtd">'
    '<topic id="{id}"><title>{title}</title>{body}</topic>'
)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def outcome_of(folder: Path, name: str) -> Outcome:
    repository = Repository({"/content/dam/x": folder})
    return repository.process(repository.real_asset(f"/content/dam/x/{name}"))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.dita", "<concept id='a'/>", "DITATOPIC"),
        ("a.dita", "<map/>", "DITAMAP"),
        ("a.dita", "this is no XML", "DITATOPIC"),
        ("a.xml", "<task id='a'/>", "DITATOPIC"),
        ("a.xml", "<bookmap/>", "DITAMAP"),
        ("a.xml", "<val/>", "DITAVAL"),
        (
            "a.xml",
            "<own xmlns:d='http://dita.oasis-open.org/architecture/2005/' d:DITAArchVersion='1.3'/>",
            "DITATOPIC",
        ),
        ("a.xml", "<project/>", "OTHERS"),
        ("a.xml", "no XML", "OTHERS"),
        ("a.DITAMAP", "<map/>", "DITAMAP"),
        ("a.ditaval", "<val/>", "DITAVAL"),
        ("a.md", "# a", "MARKDOWN"),
        ("a.css", "a {}", "HTML/CSS"),
        ("a.html", "<p>", "HTML/CSS"),
        ("a.svg", "<svg/>", "OTHERS"),
        ("a", "", "OTHERS"),
    ],
)
def test_a_file_is_classified_by_its_content_where_that_is_xml(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    assert classify(write(tmp_path, name, text)) == expected


def test_a_title_is_one_line_and_may_hold_elements(tmp_path: Path) -> None:
    write(tmp_path, "a.dita", TOPIC.format(id="a", title="Fitting\n  a <b>seal</b>", body=""))
    assert outcome_of(tmp_path, "a.dita").title == "Fitting a seal"
    write(tmp_path, "a.ditamap", "<map title='All of it'/>")
    assert outcome_of(tmp_path, "a.ditamap").title == "All of it"
    write(tmp_path, "a.md", "---\nx: 1\n---\n# Reading the gauge {#id}\n")
    assert outcome_of(tmp_path, "a.md").title == "Reading the gauge"


def test_a_broken_file_is_a_failure_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, "a.dita", "<topic id='a'>\n<title>a</topic>")
    outcome = outcome_of(tmp_path, "a.dita")
    assert outcome.failure == "The file is not well-formed XML"
    assert "line 2" in outcome.details[1]


def test_a_file_that_has_gone_is_a_failure(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "gone.dita").failure == "The file cannot be read"


def test_a_file_too_large_to_be_parsed_is_a_failure(tmp_path: Path) -> None:
    with (tmp_path / "a.dita").open("wb") as file:
        file.write(b"<topic id='a'>")
        file.truncate(6 * 1024 * 1024)
    assert outcome_of(tmp_path, "a.dita").failure == "The file is too large to be parsed"


def test_references_to_files_ids_and_keys_are_resolved(tmp_path: Path) -> None:
    write(tmp_path, "keys.ditamap", "<map><keydef keys='pump valve' href='sub/b.dita'/></map>")
    write(tmp_path, "sub/b.dita", TOPIC.format(id="b", title="b", body="<p id='note'/>"))
    write(tmp_path, "pict ure.svg", "<svg/>")
    good = (
        "<xref href='sub/b.dita'/><xref href='sub/b.dita#b/note'/><p conref='#a/own' id='own'/><xref href='#./own'/>"
        "<image href='pict%20ure.svg'/><xref keyref='pump'/><ph conkeyref='valve/note'/>"
        "<xref href='https://example.org/none' scope='external'/><xref href='mailto:nobody@example.org'/>"
        "<xref href='/content/dam/x/sub/b.dita'/>"
    )
    bad = (
        "<xref href='c.dita'/><xref href='sub/b.dita#b/none'/><p conref='#a/none'/><image href='none.png'/>"
        "<xref keyref='engine'/><xref href='/content/dam/x/none.dita'/>"
    )
    write(tmp_path, "a.dita", TOPIC.format(id="a", title="a", body=f"<body>{good}{bad}</body>"))
    assert outcome_of(tmp_path, "a.dita").dangling == (
        "c.dita",
        "sub/b.dita#b/none",
        "#a/none",
        "none.png",
        "engine",
        "/content/dam/x/none.dita",
    )


def test_markdown_links_are_resolved_with_and_without_brackets(tmp_path: Path) -> None:
    write(tmp_path, "b c.md", "# b")
    write(tmp_path, "a.md", "# a\n[b](<b c.md>) [b](b%20c.md) [d](d.md 'title') ![e](e.png) [f](http://example.org)")
    assert outcome_of(tmp_path, "a.md").dangling == ("d.md", "e.png")


def test_a_reference_out_of_the_mounted_folder_does_not_resolve(tmp_path: Path) -> None:
    write(tmp_path, "secret.txt", "secret")
    write(tmp_path, "mounted/a.dita", TOPIC.format(id="a", title="a", body="<xref href='../secret.txt'/>"))
    assert outcome_of(tmp_path / "mounted", "a.dita").dangling == ("../secret.txt",)


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.txt", "canary-4711")
    text = (
        f'<!DOCTYPE topic [<!ENTITY file SYSTEM "{secret.as_uri()}"><!ENTITY % dtd SYSTEM "http://127.0.0.1:9/x.dtd">'
        " %dtd;]><topic id='a'><title>a &file;</title></topic>"
    )
    write(tmp_path, "a.dita", text)
    assert "canary" not in repr(outcome_of(tmp_path, "a.dita"))


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f"<!DOCTYPE topic [<!ENTITY e0 'ha'>{levels}]><topic id='a'><title>a &e11;</title><p>&e11;</p></topic>"
    write(tmp_path, "a.dita", text)
    assert len(repr(outcome_of(tmp_path, "a.dita"))) < 1000
