"""The policy's own pages: who changed line 31, what is wrong where, when each version ruled, and back to it."""

from __future__ import annotations

import html
import re
import subprocess
import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from gate.adapters import policy_yaml
from gate.flows import edits
from gate.ports import ActivePolicy, Proposal
from gate.web import beside, policy_edit_pages
from tests.conftest import REPOSITORY
from tests.flows.test_policy_edits import LOOSER, TIGHTER, proposed, push, said, saved, signed, waiting
from tests.flows.test_policy_versions import active, rewind
from tests.real_gate import RealGate
from tests.web import test_pages
from tests.web.test_pages import Person, filled, person

app, anna = test_pages.app, test_pages.anna
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def line_of(gate: RealGate, part: str) -> int:
    lines = gate.opened.policies.read(gate.opened.policies.head()).splitlines()
    return next(number for number, line in enumerate(lines, 1) if part in line)


def row(page: str, number: int) -> str:
    found = re.search(rf'<tr id="L{number}".*?</tr>', page, re.DOTALL)
    assert found
    return found[0]


def form(page: str, action: str) -> dict[str, str]:
    """The fields of the form with this action, as a browser would send them."""
    found = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page, re.DOTALL)
    assert found, action
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0]))
    area = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", found[0], re.DOTALL)
    assert area
    return {name: html.unescape(value) for name, value in {**fields, "text": area[1]}.items()}


def test_each_line_has_its_address_and_says_who_changed_it_last(sqlite_gate: RealGate, anna: Person) -> None:
    saved(sqlite_gate, said(sqlite_gate, TIGHTER), "berta", "longer <b>after</b> the trial")
    page = anna.client.get("/policy").text
    here = row(page, line_of(sqlite_gate, "soak: 6s"))
    assert f'href="/policy/versions/{active(sqlite_gate).commit}"' in here
    assert "berta" in here
    assert "longer &lt;b&gt;after&lt;/b&gt; the trial" in here
    assert "berta" not in row(page, 1)


def test_the_editor_holds_the_active_text_on_the_head_and_posts_it_to_the_preview(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    page = anna.client.get("/policy?tab=edit").text
    found = form(page, "/policy/preview")
    policies = sqlite_gate.opened.policies
    assert found["text"] == policies.read(policies.head())
    assert (found["base"], found["back"], found["csrf"]) == (policies.head(), "/policy?tab=edit", anna.csrf)
    reader = person(app, "ada").client.get("/policy?tab=edit").text
    assert "<textarea" not in reader
    assert "tab=edit" not in reader.partition("</header>")[2], "no way to it but for the other language"


@pytest.mark.parametrize("gone", [False, True])
def test_a_form_whose_commit_the_branch_has_lost_loses_no_text(sqlite_gate: RealGate, anna: Person, gone: bool) -> None:
    first = sqlite_gate.opened.policies.head()
    saved(sqlite_gate, said(sqlite_gate, TIGHTER), "anna", "x")
    form_ = form(anna.client.get("/policy?tab=edit").text, "/policy/preview")
    form_["text"] = form_["text"].replace("first_batch: 3", "first_batch: 2")
    rewind(sqlite_gate, first)
    if gone:
        form_["base"] = "0" * 40
    for path in ("/policy/preview", "/policy/save"):
        page = anna.post(path, **{**form_, "because": "why not"})
        assert page.status_code == 409
        assert "Somebody else was faster" in page.text
        assert page.text.count("first_batch: 2") >= 2, "in what is carried on, and as a changed line"


def test_a_pushed_loosening_that_nobody_signed_in_time_is_proposed_anew(sqlite_gate: RealGate, app: Flask) -> None:
    commit = push(sqlite_gate, LOOSER)
    sqlite_gate.worker.tick()
    where = f"/policy/versions/{commit}"
    assert "Propose this version again" not in person(app, "anna").client.get(where).text, "it waits for a signature"
    sqlite_gate.clock.forward(hours=25)
    sqlite_gate.worker.tick()
    anna = person(app, "anna")
    page = anna.client.get(where).text
    assert "Propose this version again" in page
    preview = anna.post("/policy/preview", **form(page, "/policy/preview"))
    assert 'action="/policy/save"' in preview.text
    answer = anna.post("/policy/save", **{**form(page, "/policy/preview"), "because": "still wanted"})
    assert answer.status_code == 303
    ada = person(app, "ada")
    assert ada.post(answer.headers["Location"] + "/sign").status_code == 303
    assert "soak: 4s" in sqlite_gate.opened.policies.read(active(sqlite_gate).commit)
    assert active(sqlite_gate).problem == ""


def test_what_rules_already_and_may_be_proposed_no_more_is_edited_all_the_same(
    sqlite_gate: RealGate, anna: Person
) -> None:
    policies, before, now = sqlite_gate.opened.policies, active(sqlite_gate), sqlite_gate.clock.now()
    text = policies.read(before.commit)
    commit = policies.write(text + "# a\u2028# b\n", policies.head(), "anna", "by an older gate", now)
    with sqlite_gate.opened.store.write() as tx:
        assert tx.activate_policy(ActivePolicy(commit, now, "anna"), before.commit)
    for place in ("/", "/policy", "/policy?tab=edit", "/rings", "/rings/edit?item=rings[0]"):
        assert anna.client.get(place).status_code == 200, place
    words = {"base": commit, "because": "a plain end", "back": "/rings"}
    assert anna.post("/policy/save", text=text + "# c\u2028# d\n", **words).status_code == 400
    assert anna.post("/policy/save", text=text + "# c\n", **words).status_code == 303
    assert active(sqlite_gate).commit == policies.head()


def test_whose_name_is_not_enough_is_told_so_before_they_sign(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    where = f"/policy/proposals/p-{push(sqlite_gate, LOOSER)[:24]}"
    sqlite_gate.worker.tick()
    page = anna.client.get(where).text
    assert "With your name it waits for one person more." in page
    assert "acts at once" not in page
    assert anna.post(f"{where}/sign").status_code == 303
    assert "With your name it acts at once." in person(app, "ada").client.get(where).text


def test_a_session_that_ends_while_a_policy_is_written_loses_no_text(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    found = form(anna.client.get("/policy?tab=edit").text, "/policy/preview")
    found["text"] = found["text"].replace("first_batch: 3", 'first_batch: 2   # "<b>" \u202e')
    sqlite_gate.clock.forward(minutes=16)
    page = anna.post("/policy/preview", **{**found, "confirm_password": "x"})
    assert page.status_code == 401
    assert "what you have sent is kept" in page.text
    for password in ("wrong", test_pages.PASSWORD):
        kept = {name: html.unescape(value) for name, value in HIDDEN.findall(page.text)}
        page = anna.client.post("/login", data={**kept, "login": "anna", "password": password}, headers=test_pages.OURS)
    assert page.status_code == 200
    kept = {name: html.unescape(value) for name, value in HIDDEN.findall(page.text)}
    assert "confirm_password" not in kept
    assert kept["csrf"] != found["csrf"]
    preview = anna.client.post("/policy/preview", data=kept, headers=test_pages.OURS)
    assert preview.status_code == 200
    assert found["text"] in html.unescape(preview.text)
    elsewhere = {"login": "anna", "password": test_pages.PASSWORD, "sent_to": "https://evil.example/", "kept.x": "y"}
    answer = app.test_client().post("/login", data=elsewhere, headers=test_pages.OURS)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_a_refused_head_is_not_what_the_editor_begins_with(sqlite_gate: RealGate, anna: Person) -> None:
    commit = push(sqlite_gate, LOOSER)
    sqlite_gate.worker.tick()
    page = anna.client.get("/policy?tab=edit").text
    found = form(page, "/policy/preview")
    assert "soak: 5s" in found["text"]
    assert found["base"] == commit
    later = form(anna.client.get(f"/policy?tab=edit&version={commit}").text, "/policy/preview")
    assert "soak: 4s" in later["text"]
    assert "A proposal waits for another person" in page


def test_the_longest_policy_is_edited_on_the_page_like_any_other(sqlite_gate: RealGate, anna: Person) -> None:
    assert policy_edit_pages.LONGEST == policy_yaml.MAX_BYTES
    text = said(sqlite_gate, TIGHTER)
    note = "# " + "ä" * 57 + "\n"
    text += note * ((policy_yaml.MAX_BYTES - len(text.encode())) // len(note.encode()))
    text += "#" * (policy_yaml.MAX_BYTES - len(text.encode()))
    sent = {"base": sqlite_gate.opened.policies.head(), "text": text.replace("\n", "\r\n"), "because": "longer"}
    assert anna.post("/policy/problems", **sent).get_json() == {"problems": []}
    assert anna.post("/policy/preview", **sent).status_code == 200
    longer = anna.post("/policy/preview?lang=en", **sent | {"text": text + "#"})
    assert (longer.status_code, "a policy has at most 262144 bytes" in longer.text) == (400, True)
    assert anna.post("/policy/save", **sent).status_code == 303
    assert sqlite_gate.opened.policies.read(active(sqlite_gate).commit) == text
    assert anna.post("/sites", id="x", name="y" * 300_000).status_code == 413, "other forms are as short as ever"


def test_a_text_is_looked_at_while_it_is_typed_and_nothing_is_stored(sqlite_gate: RealGate, anna: Person) -> None:
    head = sqlite_gate.opened.policies.head()
    text = said(sqlite_gate, ("first_batch:", "first_bach:")).replace("\n", "\r\n")
    [problem] = anna.post("/policy/problems", text=text).get_json()["problems"]
    assert problem["line"] == line_of(sqlite_gate, "first_batch:")
    assert "did you mean 'first_batch'" in problem["message"]
    anna.client.get("/?lang=de")
    [problem] = anna.post("/policy/problems", text=text).get_json()["problems"]
    assert problem["message"] == "unbekannter Schlüssel 'first_bach' (meinten Sie 'first_batch'?)"
    assert anna.post("/policy/problems", text=text.replace("bach", "batch")).get_json() == {"problems": []}
    assert anna.post("/policy/problems").status_code == 400
    assert sqlite_gate.opened.policies.head() == head


def test_a_broken_head_is_marked_by_line(sqlite_gate: RealGate, anna: Person) -> None:
    number = line_of(sqlite_gate, "first_batch:")
    commit = push(sqlite_gate, ("first_batch:", "first_bach:"))
    sqlite_gate.worker.tick()
    page = anna.client.get(f"/policy?version={commit}").text
    assert 'class="wrong"' in row(page, number)
    assert "did you mean" in row(page, number)
    assert f'href="#L{number}"' in page.partition("<table>")[0]
    assert 'class="wrong"' not in anna.client.get("/policy").text
    assert anna.client.get(f"/policy/versions/{commit}").status_code == 200
    assert anna.client.get(f"/policy?tab=words&version={commit}").status_code == 400


def test_the_policy_in_words_leads_to_its_lines_in_both_languages(sqlite_gate: RealGate, anna: Person) -> None:
    number = line_of(sqlite_gate, "first_batch:")
    english, german = (anna.client.get(f"/policy?tab=words&lang={one}").text for one in ("en", "de"))
    assert f'href="/policy#L{number}"' in english
    assert text_of(english) != text_of(german)


def test_a_plan_is_made_beside_the_page_and_shown_at_the_next_look(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    filled(sqlite_gate)
    first = text_of(anna.client.get("/policy?tab=plan").text)
    assert "being made" in first
    app.extensions["gate"].plans.wait()
    page = text_of(anna.client.get("/policy?tab=plan").text)
    assert "being made" not in page
    assert "1 of 1" in page
    assert "shop-content" in page
    sqlite_gate.clock.forward(minutes=61)
    person(app, "berta")
    again = text_of(person(app, "berta").client.get("/policy?tab=plan").text)
    assert "being made" in again, "an old plan is made anew"
    assert "shop-content" in again, "and shown till then"
    app.extensions["gate"].plans.wait()


def test_what_an_edit_would_do_to_a_large_fleet_is_worked_out_beside_the_page_and_saved_once_it_is_seen(
    sqlite_gate: RealGate, app: Flask, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(sqlite_gate)
    monkeypatch.setattr(policy_edit_pages, "AT_ONCE", 0)
    head, text = sqlite_gate.opened.policies.head(), said(sqlite_gate, TIGHTER)
    sent = {"base": head, "text": text, "because": "longer"}
    first = anna.post("/policy/preview", **sent)
    assert (first.status_code, "is being worked out" in first.text, "tightens" in first.text) == (200, True, True)
    assert 'action="/policy/save"' not in first.text, "who saves has seen what it would do"
    again = form_again(first.text)
    assert (again["text"], again["because"]) == (text, "longer"), "its button sends the same edit again"
    app.extensions["gate"].previews.wait()
    page = anna.post("/policy/preview", **sent).text
    assert "is being worked out" not in page
    assert "No machine would change its ring" in page
    assert 'action="/policy/save"' in page
    other = anna.post("/policy/preview", **(sent | {"text": said(sqlite_gate, LOOSER)})).text
    assert "is being worked out" in other, "another text is another edit"
    app.extensions["gate"].previews.wait()
    proposal = proposed(sqlite_gate, by="berta")
    before = anna.client.get(f"/policy/proposals/{proposal.id}").text
    assert "/sign" in before, "the same text on the same active version was worked out already"
    sqlite_gate.clock.forward(minutes=11)
    later = person(app, "ada").client.get(f"/policy/proposals/{proposal.id}").text
    assert "is being worked out" in later, "an old one is made anew"
    assert "No machine would change its ring" in later, "and shown till then"
    app.extensions["gate"].previews.wait()


def test_what_many_edits_would_do_is_worked_out_for_some_at_a_time_and_refused_to_more_without_losing_their_text(
    sqlite_gate: RealGate, app: Flask, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(sqlite_gate)
    monkeypatch.setattr(policy_edit_pages, "AT_ONCE", 0)
    head, text = sqlite_gate.opened.policies.head(), said(sqlite_gate, TIGHTER)
    parts = app.extensions["gate"]

    def asked(number: int, **more: str) -> TestResponse:
        return anna.post("/policy/preview", base=head, text=f"{text}# {number}\n", because="longer", **more)

    with parts.previews._busy:  # whatever is made takes long
        threads = threading.active_count()
        pages = [asked(number) for number in range(beside.MOST + 3)]
        assert [one.status_code for one in pages] == [200] * beside.MOST + [503] * 3
        assert threading.active_count() - threads == beside.MOST
        assert "others have asked for as much" in pages[-1].text
        assert f"# {beside.MOST + 2}" in pages[-1].text, "nothing is lost"
        assert asked(0).status_code == 200, "the same edit is looked at again"
        page = anna.client.get(f"/policy/proposals/{proposed(sqlite_gate, by='berta').id}").text
        assert "others have asked for as much" in page, "not that the repository is gone"
    parts.previews.wait()
    assert asked(beside.MOST + 2).status_code == 200
    parts.previews.wait()


def test_a_plan_for_which_no_room_is_says_so_in_both_languages(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    filled(sqlite_gate)
    plans = app.extensions["gate"].plans
    with plans._busy:
        for number in range(beside.MOST):
            plans.get(f"another version {number}", sqlite_gate.clock.now(), lambda _: None)
        said_words = {"en": "others have asked for as much", "de": "andere haben schon um so viel gebeten"}
        for language, words in said_words.items():
            page = anna.client.get(f"/policy?tab=plan&lang={language}")
            assert (page.status_code, words in page.text) == (503, True)
    plans.wait()


def form_again(page: str) -> dict[str, str]:
    """What the button under a preview that is being made sends."""
    found = re.search(r"<form[^>]*data-again.*?</form>", page, re.DOTALL)
    assert found
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0])
    return {name: html.unescape(value) for name, value in fields}


NO_FILE = "no policy.yaml that can be read"


def test_a_head_without_a_policy_file_refuses_no_edit_and_loses_none(sqlite_gate: RealGate, anna: Person) -> None:
    policies, text = sqlite_gate.opened.policies, said(sqlite_gate, TIGHTER)
    base, rules = policies.head(), active(sqlite_gate).commit
    bare(sqlite_gate)
    for door in ("preview", "save"):
        page = anna.post(f"/policy/{door}", base=base, text=text, because="longer")
        assert (page.status_code, NO_FILE in page.text) == (409, True), door
        kept = form(page.text, "/policy/preview")
        assert (kept["text"], kept["base"], kept["because"]) == (text, policies.head(), "longer"), door
    assert active(sqlite_gate).commit == rules
    for path in ("/policy?tab=edit", "/rings/edit?item=rings[0]"):
        assert policies.head() in anna.client.get(path).text, path
    sent = {name: kept[name] for name in ("base", "text", "because")}
    assert 'action="/policy/save"' in anna.post("/policy/preview", **sent).text
    assert anna.post("/policy/save", **sent).status_code == 303
    assert active(sqlite_gate).commit == policies.head()
    assert policies.read(policies.head()) == text


def bare(gate: RealGate) -> None:
    """Somebody pushes a commit that drops the file."""
    git = ["git", "-C", str(gate.opened.settings.policy), "-c", "user.name=x", "-c", "user.email=x@y"]
    tree = subprocess.run([*git, "mktree"], input="", text=True, capture_output=True, check=True).stdout.strip()
    words = [*git, "commit-tree", tree, "-p", gate.opened.policies.head(), "-m", "gone"]
    commit = subprocess.run(words, text=True, capture_output=True, check=True).stdout.strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", commit], check=True)


def test_the_back_test_names_its_command_of_the_command_line(sqlite_gate: RealGate, anna: Person) -> None:
    first = active(sqlite_gate).commit
    saved(sqlite_gate, said(sqlite_gate, TIGHTER))
    assert "gate policy backtest active --recorded" in anna.client.get("/policy?tab=backtest").text
    page = anna.client.get(f"/policy?tab=backtest&version={first}").text
    assert f"gate policy backtest {first[:12]} --recorded" in page


def history(person_: Person, **query: str) -> list[list[str]]:
    page = person_.client.get("/policy", query_string={"tab": "history", **query}).text
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    return [[text_of(cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", one, re.DOTALL)] for one in rows]


def test_the_history_says_who_agreed_and_when_each_version_ruled(sqlite_gate: RealGate, anna: Person) -> None:
    first = active(sqlite_gate)
    sqlite_gate.clock.forward(minutes=5)
    proposal = proposed(sqlite_gate)
    sqlite_gate.clock.forward(minutes=5)
    second = signed(sqlite_gate, proposal, "berta")
    assert second is not None
    push(sqlite_gate, ("first_batch:", "first_bach:"))
    sqlite_gate.worker.tick()
    broken, mine, seed = history(anna)
    assert broken[3:6] == ["", "–", "–"], "it never ruled"
    assert broken[2] == "mallory"
    assert mine[3] == "anna, berta"
    assert mine[5] == "–", "it still does"
    assert "active" in mine[0]
    assert seed[5] == mine[4]
    assert first.commit[:12] in seed[0]


def test_a_long_history_goes_on_on_the_next_page(sqlite_gate: RealGate, anna: Person) -> None:
    for number in range(30):
        saved(sqlite_gate, said(sqlite_gate, ("timezone: ", "timezone:  ")), because=f"change {number}")
    newest = history(anna)
    assert len(newest) == 25
    page = anna.client.get("/policy?tab=history").text
    found = re.search(r'rel="next" href="[^"]*after=([0-9a-f]{40})"', page)
    assert found
    rest = history(anna, after=found[1])
    assert len(rest) == 6
    assert rest[0][5] == newest[-1][4], "it ended where the next began, though that is on another page"


def test_a_version_says_what_it_changed_in_sentences_and_in_lines(sqlite_gate: RealGate, anna: Person) -> None:
    saved(sqlite_gate, said(sqlite_gate, TIGHTER), "berta", "longer after the trial")
    commit = active(sqlite_gate).commit
    page = anna.client.get(f"/policy/versions/{commit[:12]}").text
    words = text_of(page)
    assert "tightens" in words
    assert re.search(r'class="added">\+ <bdi>.*soak: 6s', page)
    assert re.search(r'class="gone">- <bdi>.*soak: 5s', page)
    assert "berta" in words
    assert "longer after the trial" in words


def proposal_page(who: Person, proposal_id: str) -> str:
    answer = who.client.get(f"/policy/proposals/{proposal_id}?lang=en")
    assert answer.status_code == 200
    return text_of(answer.text)


@pytest.mark.parametrize("state", ["open", "withdrawn", "enacted"])
def test_a_proposal_on_a_broken_head_has_its_page(sqlite_gate: RealGate, anna: Person, state: str) -> None:
    text = said(sqlite_gate, LOOSER)
    push(sqlite_gate, ("first_batch:", "first_bach:"))
    sqlite_gate.worker.tick()
    proposal = saved(sqlite_gate, text, "berta")
    assert isinstance(proposal, Proposal)
    if state == "enacted":
        assert signed(sqlite_gate, proposal, "carl") is not None
    elif state == "withdrawn":
        assert anna.post(f"/policy/proposals/{proposal.id}/withdraw", because="not now").status_code == 303
    page = proposal_page(anna, proposal.id)
    assert "4s" in page
    if state != "withdrawn":  # it is shown beside the broken text, of which there are no sentences
        assert "5 seconds (loosens)" in page
        assert "first_bach: 3" not in page, "beside what ruled, not beside what never did"


def test_an_enacted_proposal_and_its_version_say_what_they_changed_of_what_ruled_before(
    sqlite_gate: RealGate, anna: Person
) -> None:
    was = active(sqlite_gate).commit
    push(sqlite_gate, LOOSER)
    commit = push(sqlite_gate, ("timezone: ", "timezone:  "))
    sqlite_gate.worker.tick()
    [proposal] = waiting(sqlite_gate)
    assert "soak: 4s" in proposal_page(anna, proposal.id)
    for login in ("berta", "carl"):
        signed(sqlite_gate, proposal, login)
    assert active(sqlite_gate).commit == commit
    saved(sqlite_gate, said(sqlite_gate, ("first_batch: 3", "first_batch: 2")), "berta")
    for page in (
        proposal_page(anna, proposal.id),
        text_of(anna.client.get(f"/policy/versions/{commit}?lang=en").text),
    ):
        assert "loosens" in page
        assert "no rule changes" not in page
    assert f"what ruled before: {was[:12]}" in page


def test_going_back_is_a_new_proposal_on_the_present_head(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    first = active(sqlite_gate).commit
    saved(sqlite_gate, said(sqlite_gate, TIGHTER))
    page = anna.client.get(f"/policy/versions/{first}").text
    found = form(page, "/policy/preview")
    assert found["base"] == sqlite_gate.opened.policies.head() != first
    assert found["text"] == sqlite_gate.opened.policies.read(first)
    with sqlite_gate.opened.store.write() as tx:
        made = edits.save(
            tx, sqlite_gate.opened.gate, found["text"], found["base"], "anna", "it was better", sqlite_gate.clock.now()
        )
    assert getattr(made, "kind", "") == "policy", "back to a shorter soak takes two"
    assert "/policy/preview" not in anna.client.get(f"/policy/versions/{active(sqlite_gate).commit}").text
    assert "/policy/preview" not in person(app, "ada").client.get(f"/policy/versions/{first}").text


def test_a_head_that_waits_is_taken_up_by_hand(sqlite_gate: RealGate, anna: Person) -> None:
    commit = push(sqlite_gate, TIGHTER)
    assert "a head that is not active" in anna.client.get("/policy").text
    assert anna.post("/policy/activate").status_code == 303
    assert active(sqlite_gate).commit == commit
    assert "a head that is not active" not in anna.client.get("/policy").text


def test_a_decision_leads_to_the_policy_that_was_active_then(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    sqlite_gate.pass_minutes(1)
    then = active(sqlite_gate).commit
    number = line_of(sqlite_gate, "gate: {soak: 5s")
    saved(sqlite_gate, said(sqlite_gate, TIGHTER))
    page = anna.client.get(f"/rollouts/{rollout}").text
    links = set(re.findall(r'href="(/policy/versions/[0-9a-f]{40}(?:#L\d+)?)"', page))
    assert f"/policy/versions/{then}" in links, "the footer"
    assert any(one.startswith(f"/policy/versions/{then}#L") for one in links), (number, links)
    for one in links:
        assert anna.client.get(one.partition("#")[0]).status_code == 200


@pytest.mark.parametrize("wanted", ["0" * 40, "zz", "main", "..", "0000000", "-x"])
def test_what_is_no_version_is_not_found(anna: Person, wanted: str) -> None:
    for place in (f"/policy/versions/{wanted}", f"/policy?version={wanted}", f"/policy?tab=history&after={wanted}"):
        assert anna.client.get(place).status_code == 404, place


def test_an_expired_proposal_is_shown_no_more(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    proposal = proposed(sqlite_gate)
    assert f"/policy/proposals/{proposal.id}" in anna.client.get("/policy").text
    sqlite_gate.clock.ahead += timedelta(hours=24)
    assert f"/policy/proposals/{proposal.id}" not in person(app, "anna").client.get("/policy").text


def test_the_schema_is_there_for_completion(anna: Person) -> None:
    found: dict[str, Any] = anna.client.get("/policy/schema.json").get_json()
    assert "rings" in found["properties"]


def test_on_paper_the_policys_lines_wrap() -> None:
    styles = REPOSITORY / "gate" / "web" / "static"
    for name, lines in (("app.css", ".diff"), ("policy.css", ".source code, .compared")):
        paper = (styles / name).read_text(encoding="utf-8").partition("@media print")[2]
        assert f"{lines} {{ white-space: pre-wrap; overflow-wrap: anywhere;" in paper, name
