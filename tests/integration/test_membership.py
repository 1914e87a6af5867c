"""Institutes and persons that join, are renewed, and are shut out: real computers that share nothing but the broker."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pty
import signal
import stat
import time

import pytest

from authority import Authority
from computers import running_site
from landbridge.security import Credentials, Invitation
from network import COMMAND

OCEAN = """
    import time

    __all__ = ["mean", "nap"]

    def mean(a: float, b: float) -> float:
        return (a + b) / 2

    def nap(seconds: float) -> str:
        time.sleep(seconds)
        return "slept"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def gfz(site):
    return site.institute("gfz")


@pytest.fixture
def own_site(tmp_path):
    with running_site(tmp_path) as site:
        yield site


def test_an_institute_joins_invites_its_people_and_they_serve_and_call(site, gfz):
    anna = site.person(gfz, "anna", "--serve", "ocean,waves", "--expires", "90d")
    bob = site.person(gfz, "bob")
    who = anna.json("whoami")
    assert (who["who"], who["profile"], who["serves"]) == ("gfz/anna", "gfz", ["anna", "ocean", "waves"])
    anna.serve(OCEAN, "gfz/ocean")
    assert bob.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
    assert [entry["module"] for entry in bob.json("ls")] == ["gfz/ocean"]


def test_a_person_serves_the_module_of_their_own_name_and_no_other(site, gfz):
    carl = site.person(gfz, "carl")
    carl.serve(OCEAN, "gfz/carl")
    refused = carl.run("serve", str(carl.files / "carl.py"), "--as", "gfz/waves", code=4)
    assert "landbridge invite person carl --serve waves" in refused.stderr
    refused = carl.run("serve", str(carl.files / "carl.py"), "--as", "awi/carl", code=4)
    assert "is of gfz" in refused.stderr


def test_an_institute_is_usable_right_after_it_has_joined_without_a_restart(site, gfz):
    before = time.monotonic()
    hzg = site.institute("hzg", admit=False)
    joined = time.monotonic() - before
    assert hzg.json("ls") is not None
    print(f"invited, joined and usable after {joined:.2f} s, most of it the start of two commands")
    assert hzg.json("trust", "hzg")["now"] == hzg.json("whoami")["fingerprint"]


def test_an_invitation_lets_in_once(site, gfz):
    invitation = gfz.json("invite", "person", "dora")["invitation"]
    dora, thief = site.computer("dora"), site.computer("thief")
    dora.run("join", given=invitation)
    refused = thief.run("join", given=invitation, code=4)
    assert "has been used already, with another key" in refused.stderr
    assert not list(thief.profiles.glob("*.toml"))
    # Whose answer was lost asks again with the key that is kept, and is let in.
    (dora.profiles / "gfz.joining").write_text(Credentials.parse((dora.profiles / "gfz.creds").read_text()).seed)
    (dora.profiles / "gfz.joining").chmod(0o600)
    dora.run("join", given=invitation)
    assert dora.json("whoami")["who"] == "gfz/dora"


def test_an_invitation_of_an_institute_lets_in_once(site):
    invitation = site.operator.json("invite", "institute", "ufz")["invitation"]
    ufz, thief = site.computer("ufz"), site.computer("ufz-thief")
    ufz.run("join", given=invitation)
    refused = thief.run("join", given=invitation, code=4)
    assert "ufz was not let in: the invitation has been used already" in refused.stderr
    folder = ufz.state / "institutes" / "ufz"
    (folder / "keys.json").rename(folder / "joining.json")
    (ufz.profiles / "ufz.toml").unlink()
    ufz.run("join", given=invitation)
    assert ufz.json("whoami")["fingerprint"] == ufz.json("trust", "ufz")["now"]


def test_an_institute_that_is_there_is_not_invited_again_by_mistake(site, gfz):
    refused = site.operator.run("invite", "institute", "gfz", code=5)
    assert "has joined already" in refused.stderr
    assert "--replace" in refused.stderr
    refused = site.operator.run("call", "lb/catalogue.modules", code=4, LANDBRIDGE_PROFILE="gfz/mallory")
    assert "gfz has joined this network with keys of its own" in refused.stderr


def test_a_person_who_is_shut_out_is_cut_off_within_a_second_and_stays_out(site, gfz):
    eva = site.person(gfz, "eva", "--serve", "caves")
    bob = site.person(gfz, "otto")
    serving = eva.serve(OCEAN, "gfz/caves")
    gfz.run("revoke", "person", "eva")
    before = time.monotonic()
    assert serving.wait() != 0
    print(f"ended {time.monotonic() - before:.2f} s after the command")
    assert "User Authentication Revoked" in serving.stderr
    assert "refuses the credentials" in eva.run("ls", code=5).stderr
    assert bob.run("call", "gfz/caves.mean", "--a", "1", "--b", "4", code=5).stdout == ""
    states = {entry["person"]: entry["state"] for entry in gfz.json("whoami", "--members")}
    assert (states["eva"], states["otto"]) == ("revoked", "member")
    again = site.computer("eva-again")
    again.run("join", given=gfz.json("invite", "person", "eva")["invitation"])
    assert again.json("ls") is not None


def test_an_invitation_that_was_taken_back_lets_nobody_in(site, gfz):
    invitation = gfz.json("invite", "person", "fred")["invitation"]
    gfz.run("revoke", "person", "fred")
    refused = site.computer("fred").run("join", given=invitation, code=4)
    assert "not one that gfz would still let in" in refused.stderr


def test_an_institute_that_is_shut_out_is_out_with_its_people(own_site):
    gfz = own_site.institute("gfz")
    anna = own_site.person(gfz, "anna")
    own_site.operator.run("revoke", "institute", "gfz")
    assert own_site.issuer("gfz").wait() != 0
    assert "refuses the credentials" in anna.run("ls", code=5).stderr
    assert "refuses the credentials" in gfz.run("ls", code=5).stderr
    refused = own_site.operator.run("revoke", "institute", "gfz", code=5)
    assert "no institute 'gfz'" in refused.stderr
    gfz.run("join", given=own_site.operator.json("invite", "institute", "gfz")["invitation"])
    assert gfz.json("ls") == []
    assert "refuses the credentials" in anna.run("ls", code=5).stderr


def test_an_institute_is_shut_out_by_a_broker_that_hears_of_it_later(own_site):
    gfz = own_site.institute("gfz")
    anna = own_site.person(gfz, "anna")
    broker = json.loads((own_site.operator.state / "local" / "broker.json").read_text())["pid"]
    os.kill(broker, signal.SIGSTOP)
    try:
        refused = own_site.operator.run("revoke", "institute", "gfz", code=5)
    finally:
        os.kill(broker, signal.SIGCONT)
    assert "shut out for good" in refused.stderr
    again = own_site.operator.run("revoke", "institute", "gfz", code=5)  # which tells the broker first
    assert "no institute 'gfz'" in again.stderr
    assert "refuses the credentials" in anna.run("ls", code=5).stderr


def test_who_was_shut_out_stays_out_when_the_network_starts_again(own_site):
    gfz = own_site.institute("gfz", admit=True)
    anna, bob = own_site.person(gfz, "anna"), own_site.person(gfz, "bob")
    gfz.run("revoke", "person", "anna")
    own_site.up.stop()
    own_site.operator.start("up", "--json")
    assert "refuses the credentials" in anna.run("ls", code=5).stderr
    assert bob.json("ls") == []


def test_a_credential_is_renewed_before_it_expires_and_after(own_site):
    gfz = own_site.institute("gfz")
    anna = own_site.person(gfz, "anna")
    work = anna.profiles / "gfz.creds"

    def age(expires_in_s: float) -> None:
        code = f"""
            import time
            from landbridge.hub.institutes import institute_of
            from landbridge.security import Credentials
            held = Credentials.parse(open({str(work)!r}).read())
            now = int(time.time())
            public = institute_of("gfz").credential(
                __import__("landbridge.security", fromlist=["KeyPair"]).KeyPair.from_seed(held.seed).public, "anna",
                ("anna",), until=now + {expires_in_s}, now=now - 3 * 24 * 3600)
            open({str(work)!r}, "w").write(Credentials(public, held.seed).format())
        """
        assert gfz.python(code).stderr == ""

    age(24 * 3600)  # three of four days are over
    old = work.read_text()
    assert anna.json("ls") == []
    assert work.read_text() != old
    age(-10)
    old = work.read_text()
    assert anna.json("ls") == []
    assert work.read_text() != old
    own_site.issuer("gfz").stop()
    age(-10)
    refused = anna.run("ls", code=5)
    assert "expired at" in refused.stderr
    assert "landbridge admit" in refused.stderr


def test_keys_are_rotated_without_anybody_noticing(own_site):
    gfz = own_site.institute("gfz")
    anna = own_site.person(gfz, "anna", "--serve", "ocean")
    serving = anna.serve(OCEAN, "gfz/ocean")
    before = gfz.json("whoami")["fingerprint"]
    gfz.run("rotate")
    assert anna.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
    assert serving.running
    assert gfz.json("whoami")["fingerprint"] == before
    bob = own_site.person(gfz, "bob")
    assert bob.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"


def test_keys_that_are_void_at_once_shut_out_all_but_the_institute_itself(own_site):
    gfz = own_site.institute("gfz")
    anna = own_site.person(gfz, "anna")
    served = gfz.serve(OCEAN, "gfz/ocean")
    gfz.run("rotate", "--now")
    assert "refuses the credentials" in anna.run("ls", code=5).stderr
    assert gfz.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
    assert served.running
    states = {entry["person"]: entry["state"] for entry in gfz.json("whoami", "--members")}
    assert states.pop("anna") == "revoked"
    assert set(states.values()) == {"member"}


def test_who_has_the_name_of_an_institute_is_not_taken_for_it(own_site):
    gfz, awi = own_site.institute("gfz"), own_site.institute("awi", admit=False)
    served = gfz.serve(OCEAN, "gfz/ocean", "--share", "awi/*")
    assert awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
    known = awi.json("trust", "gfz")
    assert known["known"] == known["now"] == gfz.json("whoami")["fingerprint"]
    served.stop()

    other = own_site.computer("other")
    invitation = own_site.operator.json("invite", "institute", "gfz", "--replace")["invitation"]
    other.run("join", given=invitation)
    other.serve(OCEAN, "gfz/ocean", "--share", "awi/*")
    refused = awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4", code=4)
    print_of_other = other.json("whoami")["fingerprint"]
    assert f"gfz is known here by the root key {known['known']}" in refused.stderr
    assert f"the module is one of {print_of_other}" in refused.stderr
    told = awi.run("trust", "gfz")
    assert print_of_other in told.stdout
    awi.run("trust", "gfz", print_of_other)
    assert awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"


def test_no_person_of_an_institute_can_have_another_root_key_learned_for_it(own_site):
    gfz, awi = own_site.institute("gfz"), own_site.institute("awi", admit=False)
    eve = own_site.person(gfz, "eve")
    served = eve.serve(OCEAN, "gfz/eve", "--share", "awi/*")
    served.stop()
    forged = eve.python("""
        import secrets
        from landbridge.hub.backends import module_folder, module_key
        from landbridge.hub.renewal import read_credentials
        from landbridge.security import attest_module, new_key
        from landbridge.settings import private_write, read_profile

        network = read_credentials(read_profile("gfz")).network
        root = new_key("account", secrets.token_bytes(32))
        word = attest_module(network, "gfz", "eve", module_key("gfz/eve").public, root, until=2**34)
        private_write(module_folder("gfz/eve") / "word", word)
    """)
    assert forged.stderr == ""
    eve.serve(OCEAN, "gfz/eve", "--share", "awi/*")
    refused = awi.run("call", "gfz/eve.mean", "--a", "1", "--b", "4", code=4)
    assert "Somebody poses as it" in refused.stderr
    gfz.serve(OCEAN, "gfz/ocean", "--share", "awi/*")
    assert awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
    known = awi.json("trust", "gfz")
    assert known["known"] == known["now"] == gfz.json("whoami")["fingerprint"]


def test_a_person_of_an_institute_can_change_nothing_in_its_name(own_site):
    gfz = own_site.institute("gfz")
    anna, eve = own_site.person(gfz, "anna"), own_site.person(gfz, "eve")
    charter = eve.json("call", "lb/id.charter", "--institute", "gfz")
    before = (own_site.operator.state / "local" / "keys.json").read_bytes()
    eve.run("call", "lb/id.rotate", "--charter", charter)  # what the network has already
    assert (own_site.operator.state / "local" / "keys.json").read_bytes() == before
    for method, option in (("rotate", "--charter"), ("revoke", "--revocation"), ("join", "--charter")):
        eve.run("call", f"lb/id.{method}", option, charter + "A" if method == "rotate" else charter, code=4)
    eve.run("call", "gfz/id.attest", "--module", "anna", "--key", "U" * 56, code=4)
    assert anna.json("ls") == []


def test_who_is_invited_again_joins_again_in_place_of_the_old_profile(site, gfz):
    jan = site.person(gfz, "jan")
    refused = jan.run("serve", str(jan.files), "--as", "gfz/waves", code=None)
    assert refused.returncode != 0
    invitation = gfz.json("invite", "person", "jan", "--serve", "waves")["invitation"]
    jan.run("join", given=invitation)
    assert jan.json("whoami")["serves"] == ["jan", "waves"]
    jan.run("join", given=invitation)  # which is used up, but by nobody else
    other = gfz.json("invite", "person", "jane")["invitation"]
    refused = jan.run("join", given=other, code=5)
    assert "of somebody else or of another network" in refused.stderr
    jan.run("join", "--profile", "jane", given=other)
    assert jan.json("whoami", "--profile", "jane")["who"] == "gfz/jane"


def test_a_refused_institute_leaves_nothing_that_later_counts_as_one(own_site):
    gfz = own_site.institute("gfz")
    late = own_site.computer("late")
    invitation = own_site.operator.json("invite", "institute", "gfz", "--replace")["invitation"]
    own_site.operator.run("revoke", "institute", "gfz")
    assert "was not let in" in late.run("join", given=invitation, code=4).stderr
    gfz.run("join", given=own_site.operator.json("invite", "institute", "gfz")["invitation"])
    gfz.start("admit", "--json")
    late.run("join", given=gfz.json("invite", "person", "otto")["invitation"])
    who = late.json("whoami")
    assert (who["who"], "fingerprint" in who) == ("gfz/otto", False)


def test_keys_of_another_institute_are_not_taken_for_those_of_one_that_joins(site):
    ipm = site.institute("ipm", admit=False)
    (ipm.profiles / "ipm.toml").unlink()
    invitation = site.operator.json("invite", "institute", "ipn")["invitation"]
    refused = ipm.run("join", "--profile", "ipm", given=invitation, code=5)
    assert "has the keys of ipm under the profile 'ipm'" in refused.stderr
    ipm.run("join", given=invitation)
    assert ipm.json("whoami", "--profile", "ipn")["who"].startswith("ipn/")


def test_without_an_issuer_who_joins_is_told_what_has_to_run(site):
    hzb = site.institute("hzb", admit=False)
    invitation = hzb.json("invite", "person", "anna")["invitation"]
    anna = site.computer("hzb-anna")
    refused = anna.run("join", given=invitation, code=5)
    assert "Ask hzb to start it (landbridge admit)" in refused.stderr
    hzb.start("admit", "--json")
    anna.run("join", given=invitation)


def test_an_invitation_is_pasted_in_many_lines_and_never_shown(site, gfz):
    text = gfz.json("invite", "person", "kim")["invitation"]
    assert len(text) > 1024  # more than a terminal takes in one line by itself
    kim = site.computer("kim")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(COMMAND[0], [*COMMAND, "join"], kim.env)
    seen = b""
    while b"Paste the invitation" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, text[:1100].encode() + b"\n" + text[1100:].encode() + b"\n")
    with contextlib.suppress(OSError):  # so a terminal ends
        while part := os.read(terminal, 1000):
            seen += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    os.close(terminal)
    assert b"You have joined" in seen
    assert text[200:260].encode() not in seen


def test_a_module_that_proves_nothing_is_not_taken_for_one_of_a_known_institute(own_site):
    gfz = own_site.institute("gfz", admit=False)
    awi = own_site.institute("awi", admit=False)
    gfz.serve(OCEAN, "gfz/ocean", "--share", "awi/*")
    awi.json("describe", "gfz/ocean")
    # Whoever runs the network can issue what lets somebody serve in the name of an institute, but not its root key.
    own_site.operator.run("revoke", "institute", "gfz")
    own_site.operator.serve(OCEAN, "gfz/ocean", "--share", "awi/*")
    refused = awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4", code=4)
    assert "does not prove to be its" in refused.stderr
    awi.run("trust", "gfz", "--forget")
    assert awi.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"


def test_no_secret_is_readable_by_others_or_shown(site, gfz):
    for computer in (gfz, site.operator, site.person(gfz, "gina")):
        for folder in (computer.folder / "state", computer.folder / "config"):
            for path in folder.rglob("*"):
                if path.is_file():
                    text = path.read_bytes()
                    if b"SUA" in text or b"SAA" in text or b"SOA" in text or b"BEGIN USER NKEY" in text:
                        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    shown = gfz.run("whoami").stdout + gfz.run("whoami", "--members").stdout
    assert "eyJ" not in shown
    for word in ("landbridge-invitation.eyJ0ZXN0", '"landbridge-invitation.eyJ0ZXN0', "eyJ0ZXN0" * 100):
        refused = gfz.run("join", word, code=2)
        assert "an invitation is a secret" in refused.stderr
        assert "eyJ0ZXN0" not in refused.stderr


@pytest.mark.parametrize(
    "text", ["", "hello", "landbridge-invitation.", "landbridge-invitation.e30", "landbridge-invitation." + "A" * 40000]
)
def test_what_is_no_invitation_is_refused_without_being_shown(site, text):
    refused = site.computer(f"wrong-{len(text)}").run("join", given=text, code=5)
    assert "The invitation cannot be used" in refused.stderr
    assert "AAAA" not in refused.stderr


def test_an_invitation_says_where_to_go_and_is_read_back(site, gfz):
    given = gfz.json("invite", "person", "hans", "--serve", "ocean")
    invitation = Invitation.parse(given["invitation"])
    assert (invitation.institute, invitation.person) == ("gfz", "hans")
    assert list(invitation.urls) == given["urls"]
    wrapped = "\n".join(given["invitation"][at : at + 60] for at in range(0, len(given["invitation"]), 60))
    assert Invitation.parse(wrapped) == invitation
    assert invitation.credentials.seed not in repr(invitation)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("person", "id"), "institute's issuer"),
        (("person", "_M"), "beginning with a letter"),
        (("person", "*"), "beginning with a letter"),
        (("person", "a.b"), "beginning with a letter"),
        (("person", "anna\n"), "beginning with a letter"),
        (("person", "аnna"), "beginning with a letter"),  # a Cyrillic а
        (("person", "anna", "--serve", "id"), "institute's issuer"),
        (("person", getpass.getuser()), "it is yours"),
        (("person", "anna", "--serve", "*"), "beginning with a letter"),
        (("person", "anna", "--expires", "soon"), "days or hours"),
        (("person", "anna", "--expires", "2001-01-01"), "later than now"),
        (("person", "anna", "--within", "99y"), "within 20 years"),
    ],
)
def test_invitations_that_must_not_be(gfz, words, said):
    assert said in gfz.run("invite", *words, code=2).stderr


def test_what_no_broker_would_take_does_not_use_up_an_invitation(gfz):
    modules = ",".join(f"module_with_a_long_name_{number}" for number in range(80))
    refused = gfz.run("invite", "person", "lena", "--serve", modules, code=3)
    assert "the limit is 3,500" in refused.stderr


def test_an_institute_cannot_shut_itself_out(gfz):
    assert "would be locked out" in gfz.run("revoke", "person", getpass.getuser(), code=2).stderr


def test_an_encrypted_network_with_an_authority_of_its_own_is_joined_with_nothing_but_invitations(tmp_path):
    authority = Authority(tmp_path / "authority")
    broker = authority.issue("127.0.0.1", "localhost")
    options = ("--tls-certificate", str(broker.certificate), "--tls-key", str(broker.key), "--address", "localhost")
    with running_site(tmp_path / "site", *options) as site:
        refused = site.operator.run("invite", "institute", "gfz", "--ca", str(broker.key), code=5)
        assert "cannot go into an invitation" in refused.stderr
        gfz = site.institute("gfz", "--ca", str(authority.ca))
        anna = site.person(gfz, "anna", "--serve", "ocean")
        gfz.serve(OCEAN, "gfz/ocean")
        who = anna.json("whoami")
        assert [url.partition("//")[0] for url in who["brokers"]] == ["tls:", "wss:"]
        assert anna.run("call", "gfz/ocean.mean", "--a", "1", "--b", "4").stdout == "2.5\n"
        stranger = site.computer("stranger")
        plain = site.operator.json("invite", "institute", "awi")["invitation"]
        refused = stranger.run("join", given=plain, code=5)
        assert "an authority that is not trusted here" in refused.stderr


def test_what_the_issuer_and_the_registrar_have_done_is_in_their_logs(site, gfz):
    site.person(gfz, "ida")
    logged = gfz.run("audit", "gfz/id", "--json").stdout
    assert "join" in {json.loads(line).get("member") for line in logged.splitlines()}
    logged = site.operator.run("audit", "lb/id", "--json").stdout
    assert "join" in {json.loads(line).get("member") for line in logged.splitlines()}


def test_a_module_that_a_person_serves_is_given_results_that_stay_at_another_institute(site, gfz):
    awi = site.institute("awi", admit=False)
    ute = site.person(gfz, "ute", "--serve", "sums")
    values = "__all__ = ['values']\ndef values() -> list[float]:\n    return [1.0, 2.0, 4.0]\n"
    sums = "__all__ = ['total']\ndef total(values: list[float]) -> float:\n    return sum(values)\n"
    awi.serve(values, "awi/values", "--share", "gfz/*", "--onward", "gfz/*")
    ute.serve(sums, "gfz/sums", "--share", "awi/*")
    asked = awi.python("""
        import landbridge as lb
        with lb.connect() as net:
            print(net.gfz.sums.total(net.awi.values.values.keep()))
    """)
    assert (asked.stdout, asked.stderr) == ("7.0\n", "")
