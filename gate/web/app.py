"""The pages for people: a Flask application behind the two planes.

- Server-rendered, works without JavaScript; strict CSP; nothing from elsewhere.
- Every view states what it needs (``needs``); one that does not is refused to everybody: default deny.
- A reader may look; acts are forms, answered by a redirect. Errors are pages with a sentence.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Flask, Response, g, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from gate.core import explained, reason_texts, said_texts, words
from gate.core.errors import GateError, Overtaken, Unauthenticated, Unavailable
from gate.core.policy import Policy, SourceRule
from gate.core.policy_words import chosen
from gate.core.recovery import Given, key_of
from gate.core.verdict import Reason
from gate.flows import people
from gate.flows.fleet_plan import FleetPlan
from gate.flows.preview import Preview
from gate.hookspecs import Discovered
from gate.ports import Backtester, Clock, Gate, PolicyEditor, Store, User
from gate.web import (
    acts,
    audit,
    auth,
    backtests,
    calendars,
    cells,
    event_texts,
    event_words,
    hold_pages,
    kept,
    lists,
    oidc,
    overview,
    pages,
    places,
    policy_edit_pages,
    policy_pages,
    recovery_pages,
    ring_pages,
    roles,
    site_forms,
    source_pages,
    step_up,
    stream,
    system,
)
from gate.web.auth import Visitor
from gate.web.beside import Beside
from gate.web.limits import Buckets
from gate.web.stopped import Back
from gate.web.texts import LANGUAGES, translate

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
TURNS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MAX_FORM = 256 * 1024
PUBLIC = "public"
VIEWS = (
    *overview.VIEWS,
    *pages.VIEWS,
    *acts.VIEWS,
    *roles.VIEWS,
    *oidc.VIEWS,
    *audit.VIEWS,
    *policy_edit_pages.VIEWS,
    *policy_pages.VIEWS,
    *backtests.VIEWS,
    *ring_pages.VIEWS,
    *hold_pages.VIEWS,
    *lists.VIEWS,
    *places.VIEWS,
    *site_forms.VIEWS,
    *recovery_pages.VIEWS,
    *calendars.VIEWS,
    *system.VIEWS,
    *stream.VIEWS,
    *source_pages.VIEWS,
)


@dataclass(frozen=True)
class PagesParts:
    """All that the pages need."""

    store: Store
    gate: Gate
    clock: Clock
    hash_password: Callable[[str], str]
    verify_password: Callable[[str, str], bool]
    check_hours: Callable[[str], str | None]
    """What is wrong with opening hours, None when nothing is."""
    check_land: Callable[[str], str | None]
    policy: Callable[[], Policy | None]
    editor: PolicyEditor
    look_anew: Callable[[], None] = lambda: None
    """``policy`` may be a second old, across processes too: before a page it is read anew."""
    public_url: str = ""
    root_sha256: Callable[[], str] = lambda: ""
    profile: str = "Profile: all keys are on this machine."
    later: Callable[[], Sequence[str]] = lambda: ()
    """What the policy states and this version does not enforce."""
    land: str = ""
    try_source: Callable[[SourceRule], Discovered] | None = None
    """Looks at a source and remembers nothing; None: the sources are played."""
    backtester: Backtester | None = None
    """Runs back-tests; None: the pages begin none."""
    look_every: timedelta = timedelta(seconds=30)
    """Between two looks at the sources."""
    loading: Callable[[str], Sequence[str]] = lambda _: ()
    """source -> its downloads on their way, each as a sentence."""
    ready: Callable[[], Sequence[tuple[str, bool, str]]] = lambda: ()
    """What a supervisor asks: (what, is it good, a sentence)."""
    recovery: Mapping[str, Given] = field(default_factory=dict)
    """What the settings say of a source for a person who stands at a machine."""
    roles: Callable[[], Sequence[Any]] = lambda: ()
    """What is published: each role's name, version, expires_at, written_at."""
    about: Sequence[tuple[str, str]] = ()
    """What else is known of this installation: (what, in words)."""
    metrics: Callable[[], bytes] | None = None
    """What has been counted, as text; None: there is no such page."""
    metrics_token: str = ""
    leaves: Callable[[int], Iterable[bytes]] = lambda _: ()
    """The first so many leaves of the audit tree, in order."""
    oidc: oidc.LoginProvider | None = None
    """Where people may log in besides here."""
    guest: User | None = None
    """The demo's visitor: everybody is this person, without logging in."""
    story: Callable[[], Mapping[str, Any]] | None = None
    """The demo's own words for the overview."""
    holidays: Callable[[str, int], Mapping[date, str]] = lambda _land, _year: {}
    """The public holidays of a Land in a year, by name."""
    logins: Buckets = field(default_factory=lambda: Buckets(10, 1 / 6))

    room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(stream.MOST))
    """Of pages of this process that are told at once what changes; the others ask."""

    @cached_property
    def plans(self) -> Beside[FleetPlan]:
        """Plans of the policy, made beside the requests of this process."""
        return Beside(self.store, timedelta(hours=1))

    @cached_property
    def courses(self) -> Beside[Mapping[str, datetime]]:
        """When the rings of a large fleet that are shut would open at the earliest, made alike."""
        return Beside(self.store, timedelta(minutes=10))

    @cached_property
    def back(self) -> Beside[Back]:
        """How many machines would come back how from a release that many have, made alike."""
        return Beside(self.store, timedelta(minutes=1))

    @cached_property
    def previews(self) -> Beside[Preview]:
        """What edits of the policy would do to a large fleet, made alike."""
        return Beside(self.store, timedelta(minutes=10))


def create_app(parts: PagesParts) -> Flask:
    """The application."""
    app = Flask("gate.web", static_folder="static", template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_FORM
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    app.extensions["gate"] = parts
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    guest_token = secrets.token_urlsafe(32)

    @app.before_request
    def admitted() -> WerkzeugResponse | tuple[str, int] | None:
        g.parts, g.now = parts, parts.clock.now()
        if request.endpoint in ("import_sites", "import_keys"):
            request.max_content_length = lists.MOST_UPLOADED
        if request.endpoint in ("preview_policy", "save_policy", "policy_problems"):
            request.max_content_length = request.max_form_memory_size = policy_edit_pages.MOST_SENT
        g.language = _language()
        g.visitor, g.mark = None, ""
        if request.endpoint == "static":
            return None
        if request.endpoint not in ("live", "live_stream", "healthz", "readyz", "metrics"):
            parts.look_anew()
        if parts.guest is not None:
            g.visitor = Visitor(parts.guest, guest_token, auth.csrf_of(guest_token))
        else:
            token = request.cookies.get(auth.cookie_name(parts.public_url), "")
            g.visitor = auth.visitor(parts.store, token, g.now, keeps=not _by_itself())
        need = _need(app)
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            auth.check_form(request, g.visitor, parts.public_url)
        if need == PUBLIC or request.endpoint is None:
            return None
        if g.visitor is None:
            again = kept.log_in_first()
            if again is not None:
                return again
            wish = request.full_path if request.method == "GET" else ""
            return redirect(url_for("log_in", wish=wish.rstrip("?") or None))
        people.demand(g.visitor.user, need)
        if request.method == "GET" and not _by_itself():
            g.mark = system.mark(parts.store, g.now)  # before the page is read: nothing falls between it and the stream
        return step_up.confirmed(need)

    _share_with_pages(app, parts)
    _harden(app, parts.public_url)
    _say_what_failed(app)
    _word_values(app)
    for rule, view, needed, methods in VIEWS:
        view_name = view.__name__
        app.add_url_rule(rule, view_name, view, methods=methods)
        app.extensions.setdefault("gate.needs", {})[view_name] = needed
    return app


def _by_itself() -> bool:
    """A page asks, and no person: that keeps no session alive."""
    return "X-Live" in request.headers or request.endpoint == "live_stream"


def _share_with_pages(app: Flask, parts: PagesParts) -> None:
    """What every template may use."""

    @app.context_processor
    def said() -> dict[str, Any]:
        def t(text: str) -> str:
            return translate(text, g.language)

        banners = [] if request.endpoint in ("log_in", "link") else _banners(parts)
        who, guest = g.get("visitor"), parts.guest is not None
        return {
            "t": t,
            "visitor": who,
            "guest": guest,
            "language": g.language,
            "elsewhere": _elsewhere,
            "banners": banners,
            "may": _may,
            "oidc": parts.oidc,
        }


def _harden(app: Flask, public_url: str) -> None:
    """What every answer carries: the policy of its content, no copy in caches, the language that was asked for."""

    @app.after_request
    def hardened(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if public_url.startswith("https://"):
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        if "lang" in request.args and request.args["lang"] in LANGUAGES:
            response.set_cookie("lang", request.args["lang"], samesite="Lax", max_age=31536000)
        return response


def _word_values(app: Flask) -> None:
    """How templates say values, in the visitor's language and the policy's time."""
    app.jinja_env.finalize = _upright
    app.jinja_env.filters["t"] = lambda text: translate(text, g.language)
    app.jinja_env.filters["local"] = _local
    app.jinja_env.filters["make"] = _make
    app.jinja_env.filters["age"] = _age
    app.jinja_env.filters["share"] = _share
    app.jinja_env.filters["rough"] = _rough
    app.jinja_env.filters["state"] = _state
    app.jinja_env.filters["said"] = _in_words
    app.jinja_env.filters["typed"] = recovery_pages.typed
    app.jinja_env.filters["make_key"] = key_of
    app.jinja_env.filters["choice"] = lambda value: chosen(value, g.language)
    app.jinja_env.filters["number"] = _number
    app.jinja_env.filters["day"] = _day
    app.jinja_env.filters["details"] = _details
    app.jinja_env.filters["labelled"] = lambda rows, columns: cells.labelled(
        rows, [translate(one.lstrip("#"), g.language) for one in columns]
    )
    app.jinja_env.filters["event"] = lambda kind: event_texts.kind(kind, g.language)
    app.jinja_env.filters["person"] = _is_person
    app.jinja_env.filters["reason"] = _reason


def _upright(value: Any) -> Any:
    """What turns the direction of text, and control characters, are shown as such; what is markup already stays.

    A text that a form sends back as it is goes through ``|e`` first.
    """
    return TURNS.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str and TURNS.search(value) else value


def _say_what_failed(app: Flask) -> None:
    """Every failure is a page with a sentence; what nobody expected is logged and says nothing of itself."""

    @app.errorhandler(GateError)
    def refused(problem: GateError) -> tuple[str, int]:
        if isinstance(problem, Overtaken):
            return _error_page(503, "That did not work", problem.detail)
        if isinstance(problem, Unavailable):
            return _error_page(503, "That did not work", "The database does not answer; try again.")
        if problem.status == 500:
            app.logger.error("a page failed: %s", problem)
        if problem.kind == "policy_repository":  # its sentence names a place on this server
            return _error_page(503, "That did not work", "", gone=True)
        return _error_page(problem.status, "That did not work", problem.detail)

    @app.errorhandler(HTTPException)
    def not_served(problem: HTTPException) -> tuple[str, int]:
        code = problem.code or 500
        title = "Page not found" if code == 404 else "That did not work"
        return _error_page(code, title, "" if code == 404 else problem.name)

    @app.errorhandler(Exception)
    def failed(problem: Exception) -> tuple[str, int]:
        app.logger.exception("a page failed")
        return _error_page(500, "That did not work", "")


def _need(app: Flask) -> str:
    needs: dict[str, str] = app.extensions["gate.needs"]
    need = needs.get(request.endpoint or "", "")
    if not need and request.endpoint is not None:
        raise Unauthenticated("this page states no need, so nobody may see it")
    return need


def _may(act: str) -> bool:
    return g.visitor is not None and people.may(g.visitor.user, act)


def _language() -> str:
    wanted = request.args.get("lang") or request.cookies.get("lang")
    if wanted in LANGUAGES:
        return str(wanted)
    return request.accept_languages.best_match(LANGUAGES) or "en"


def _elsewhere(name: str, word: str | None) -> str:
    """This page with all that was asked of it, and one word of its address another; None: without it."""
    others = [(one, value) for one, value in request.args.items(multi=True) if one != name]
    return "?" + urlencode([*others, *([] if word is None else [(name, word)])])


def _banners(parts: PagesParts) -> list[tuple[str, str, Sequence[str]]]:
    if g.get("visitor") is None:
        return []
    found: list[tuple[str, str, Sequence[str]]] = []
    if parts.guest is not None:
        found.append(("info", "Simulation: these pharmacies do not exist.", ()))
    else:
        found.append(("info", parts.profile, ()))
        with parts.store.read() as tx:
            active = tx.active_policy()
            waiting = policy_edit_pages.waiting(tx.proposals("open", now=g.now))
        if active is not None and parts.policy() is None:
            found.append(
                ("bad", "The policy cannot be read: nothing opens and nothing is granted. The brake works.", ())
            )
        if active is not None and active.problem:
            found.append(("bad", "The policy's branch is not active:", [active.problem]))
        if waiting:
            named = [f"/policy/proposals/{one.id}" for one in waiting]
            found.append(("proposal", "A change of the policy waits for another person:", named))
    later = list(parts.later())
    if later:
        found.append(("later", "Not yet enforced:", later))
    return found


def _error_page(code: int, title: str, detail: str, *, gone: bool = False) -> tuple[str, int]:
    if not hasattr(g, "language"):
        g.language = "en"
    return render_template("error.html", title=title, detail=detail, gone=gone), code


def _local(at: datetime | None, form: str = "%d.%m.%Y %H:%M:%S") -> str:
    if at is None:
        return "–"
    policy = g.parts.policy()
    zone = ZoneInfo(policy.timezone) if policy else ZoneInfo("Europe/Berlin")
    named = words.clock(at, zone) if "%H" in form and "%Z" not in form else ""
    return at.astimezone(zone).strftime(_form(form)) + named


def _form(german: str) -> str:
    """A form of dates as the visitor's language has it: ``19.07.2024``, ``19 Jul 2024``."""
    return german if g.language == "de" else german.replace("%d.%m.%Y", "%d %b %Y").replace("%d.%m.", "%d %b")


def _day(day: date | str, form: str = "%d.%m.%Y") -> str:
    """A day without a time; one that is none stays as it is."""
    if isinstance(day, str):
        try:
            day = date.fromisoformat(day)
        except ValueError:
            return str(day)
    return day.strftime(_form(form))


def _number(value: float, digits: int = 1) -> str:
    """``1.5``, and ``1,5`` in German."""
    said = f"{value:.{digits}f}"
    return said.replace(".", ",") if g.language == "de" else said


def _details(detail: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What an event carries, each with its word before it, in the visitor's language."""
    return event_words.details(detail, g.language, lambda at: _local(at, "%d.%m.%Y %H:%M"))


def _reason(reason: Reason) -> str:
    """A reason of a decision, in the visitor's language and the policy's zone."""
    policy = g.parts.policy()
    zone = policy.zone if policy else ZoneInfo("Europe/Berlin")
    return explained.sentence(reason, g.language, zone)


def _make(make: str) -> str:
    """``role=till|os_build=19045`` -> ``tills with 19045``."""
    return words.make(make, g.language) if make else ""


def _state(name: str) -> str:
    """The word for a state of a claim, a rollout or a machine."""
    known = reason_texts.LANGUAGES[g.language]
    return known.get(f"state.{name}") or translate(name, g.language)


def _in_words(sentence: str) -> str:
    """A sentence that gate itself has made."""
    return said_texts.said(sentence, g.language)


def _is_person(actor: str) -> bool:
    """What a person wrote stays as it is."""
    return actor not in ("gate", "policy") and not actor.startswith((*said_texts.RULES, "machine:", "source:"))


def _share(rate: float) -> str:
    return words.share(rate, g.language)


def _age(at: datetime | None) -> str:
    """``5 s``, ``3 min``, ``2 h``, ``4 d`` ago."""
    return "–" if at is None else _rough(max(g.now - at, timedelta()))


def _rough(gone: timedelta) -> str:
    """``5 s``, ``3 min``, ``2 h``, ``4 d``."""
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if gone.total_seconds() >= seconds:
            return f"{int(gone.total_seconds() // seconds)} {unit}"
    return f"{int(gone.total_seconds())} s"
