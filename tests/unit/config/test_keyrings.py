"""Keyrings as the file says them: what is taken, and the one line for what cannot be."""
# ruff: noqa: E501  # a line as it is written and what is said of it, side by side

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrotd.config.acknowledgements import (
    ApiServerAcknowledgement,
    CommandAcknowledgement,
    FileAcknowledgement,
    HeartbeatAcknowledgement,
    HttpAcknowledgement,
)
from certrotd.config.keks import FileKekEntry
from certrotd.config.keyrings import PERIODS, KeyringEntry
from certrotd.config.load import check, load
from certrotd.config.schema import json_schema
from certrotd.errors import ConfigInvalid
from tests.unit.config.test_example import EXAMPLE
from tests.unit.config.test_fragments import fragment, problems
from tests.unit.config.written import MINIMAL, config, loaded, refused, said, write

KEK = "keks: {main: {type: file, path: /etc/certrotd/kek}}\n"
TARGET = "targets: {web: {type: nginx}}\n"
SHOP = KEK + TARGET + "keyrings:\n  shop:\n    %s\n"
OUTPUTS = SHOP % "outputs:\n    - %s"
CONSUMER = SHOP % "consumers:\n      web: %s"
AGE = "age1" + "q" * 58
FORMS = (
    "{file: PATH}, {http: URL}, {command: [PROGRAM, …]}, {heartbeat: DIRECTORY} or "
    "{api_server: URL}"
)
NAME = "must be a plain name: lower-case letters, digits, '-', '_' and single dots, beginning with a letter or a digit (it becomes the name of a file or folder)"
AT = "5: keyrings.shop"
WEB = "6: keyrings.shop.consumers.web"


def test_a_keyring_needs_nothing_but_its_name(tmp_path: Path) -> None:
    """What an operator has no opinion on has a safe value: no key is destroyed, none is lost."""
    shop = config(tmp_path, KEK + "keyrings: {shop: {}}\n").keys.keyrings["shop"]
    assert shop == KeyringEntry()
    assert (shop.algorithm, shop.classification, shop.enabled) == ("aes-256-gcm", "internal", True)
    assert (shop.keks, shop.outputs, shop.consumers, shop.custodians) == ((), (), {}, ())
    assert (shop.datasets, shop.drains, shop.backup, shop.window) == ({}, {}, None, None)
    assert (shop.grace, shop.watch) == (timedelta(days=7), timedelta(days=30))
    rotate = shop.rotate
    assert (rotate.cryptoperiod, rotate.messages, rotate.bytes, rotate.calendar) == (None,) * 4


def test_each_class_of_data_has_its_cryptoperiod() -> None:
    """Yearly, quarterly, monthly, weekly; the more sensitive, the shorter."""
    assert [PERIODS[each].days for each in ("public", "internal", "confidential", "restricted")] == [
        365, 91, 30, 7,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "fits"),
    [
        ("workloads: [deployment/a]", True),
        ("selector: a=b", True),
        ("workloads: [deployment/a], mode: none, pod_probe: [{port: 1}]", False),
        ("mounting: true", False),
    ],
)
def test_a_consumer_is_restarted_by_a_target_that_names_it(
    tmp_path: Path, target: str, fits: bool
) -> None:
    """It confirms keys by its restart; Secrets of certificates say nothing of who reads keys."""
    shop = "keyrings: {shop: {consumers: {web: {target: pods}}}}\n"
    text = f"{KEK}targets: {{pods: {{type: kubernetes, {target}}}}}\n{shop}"
    if fits:
        assert config(tmp_path, text).keys.keyrings["shop"].consumers
        return
    assert said(refused(tmp_path, text)) == [
        '3: keyrings.shop.consumers.web.target: "pods" does not restart workloads that it names: '
        "a consumer takes mode restart, and workloads or a selector"
    ]


def test_a_pod_probe_is_refused_where_no_certificate_is_proven(tmp_path: Path) -> None:
    """Keys are not served: it would be passed over."""
    pods = "targets: {pods: {type: kubernetes, selector: a, pod_probe: [{port: 1}]}}\n"
    shop = "keyrings: {shop: {consumers: {web: {target: pods}}}}\n"
    [line] = said(refused(tmp_path, KEK + pods + shop))
    assert line.endswith(
        "targets.pods.pod_probe: is for certificates, and none uses this target: leave it out"
    )
    used = "issuers: {ca: {type: internal}}\n"
    used += "certificates: [{name: web, names: [example.org], targets: [pods]}]\n"
    assert config(tmp_path, KEK + pods + shop + used).keys.keyrings


def test_a_context_needs_the_file_that_has_it(tmp_path: Path) -> None:
    """It would be passed over, and another cluster asked."""
    told = '{acknowledge: {api_server: "https://10.0.0.11:6443", context: a}}'
    [line] = said(refused(tmp_path, CONSUMER % told))
    assert "context is given, but kubeconfig (the file that has it) is not" in line


def test_every_form_of_acknowledgement_is_told_by_its_key(tmp_path: Path) -> None:
    """One mapping each, without a word for its type."""
    text = SHOP % (
        "consumers:\n"
        "      a: {acknowledge: {file: /run/a}}\n"
        '      b: {acknowledge: {http: "https://b.example.com/keys?of=shop", roots: /r.pem}}\n'
        "      c: {acknowledge: {command: [/bin/c], environment: {A: b}}}\n"
        "      d: {acknowledge: {heartbeat: /run/d, instances: 3, stale: 1m}}\n"
        "      e: {target: web, wave: 2, within: 5m}\n"
        '      f: {acknowledge: {api_server: "https://10.0.0.11:6443/", timeout: 5s}}'
    )
    consumers = config(tmp_path, text).keys.keyrings["shop"].consumers
    assert [type(each.acknowledge) for each in consumers.values()] == [
        FileAcknowledgement,
        HttpAcknowledgement,
        CommandAcknowledgement,
        HeartbeatAcknowledgement,
        type(None),
        ApiServerAcknowledgement,
    ]
    assert consumers["f"].acknowledge == ApiServerAcknowledgement(
        api_server="https://10.0.0.11:6443", timeout=timedelta(seconds=5)
    )
    assert (consumers["e"].target, consumers["e"].wave) == ("web", 2)
    assert consumers["e"].within == timedelta(minutes=5)
    assert consumers["a"].within == timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # what is referred to
        (SHOP % "keks: [mian]", f'{AT}.keks[0]: there is no kek "mian", did you mean "main"?'),
        (SHOP % "keks: [zzz]", f'{AT}.keks[0]: there is no kek "zzz", known: main'),
        (SHOP % "keks: [local]", f'{AT}.keks[0]: there is no kek "local", known: main'),
        (SHOP % "keks: [main, main]", f'{AT}.keks[1]: "main" is in this list already'),
        (CONSUMER % "{target: wbe}", f'{WEB}.target: there is no target "wbe", did you mean "web"?'),
        # consumers
        (CONSUMER % "{}", f"{WEB}: needs a target, a way to acknowledge, or both"),
        (CONSUMER % "{wave: 2}", f"{WEB}: needs a target, a way to acknowledge, or both"),
        (CONSUMER % "{target: web, wave: 0}", f"{WEB}.wave: must be a whole number from 1 to 100, got 0"),
        (CONSUMER % "{target: web, within: 0s}", f'{WEB}.within: must be longer than zero, such as 30s, got "0s"'),
        (SHOP % "consumers: {Web: {target: web}}", f'{AT}.consumers.Web: {NAME}, got "Web"'),
        # acknowledgements
        (CONSUMER % "{acknowledge: {api_server: 'https://10.0.0.1/metrics'}}", f'{WEB}.acknowledge.api_server: must be an address such as https://10.0.0.11:6443, got "https://10.0.0.1/metrics"'),
        (CONSUMER % "{acknowledge: {api_server: 'http://127.0.0.1'}}", f'{WEB}.acknowledge.api_server: must be an address such as https://10.0.0.11:6443, got "http://127.0.0.1"'),
        (CONSUMER % "{acknowledge: {file: /a, http: 'https://b'}}", f"{WEB}.acknowledge: has file and http: keep one of them"),
        (CONSUMER % "{acknowledge: {}}", f"{WEB}.acknowledge: must be one of {FORMS}"),
        (CONSUMER % "{acknowledge: /run/ack}", f"{WEB}.acknowledge: must be one of {FORMS}"),
        (CONSUMER % "{acknowledge: {fiel: /run/ack}}", f"{WEB}.acknowledge: must be one of {FORMS}"),
        (CONSUMER % "{acknowledge: {file: run/ack}}", f'{WEB}.acknowledge.file: must be an absolute path without "..", such as /etc/ssl, got "run/ack"'),
        (CONSUMER % "{acknowledge: {file: /a, instances: 2}}", f"{WEB}.acknowledge.instances: unknown key, known: file"),
        (CONSUMER % "{acknowledge: {heartbeat: /a, instance: 2}}", f'{WEB}.acknowledge.instance: unknown key, did you mean "instances"?'),
        (CONSUMER % "{acknowledge: {heartbeat: /a, instances: 0}}", f"{WEB}.acknowledge.instances: must be a whole number from 1 to 100000, got 0"),
        (CONSUMER % "{acknowledge: {heartbeat: /a, stale: 5}}", f"{WEB}.acknowledge.stale: must be a duration with its unit, such as 5s, got 5"),
        (CONSUMER % "{acknowledge: {command: /bin/has}}", f"{WEB}.acknowledge.command: must be a list such as [a, b], got text"),
        (CONSUMER % "{acknowledge: {command: []}}", f"{WEB}.acknowledge.command: must not be empty"),
        (CONSUMER % "{acknowledge: {http: 'http://b.example.com/k'}}", f'{WEB}.acknowledge.http: must begin with https:// unless it is this machine, got "http://b.example.com/k"'),
        (CONSUMER % "{acknowledge: {http: 'http://127.0.0.1@evil.example.com'}}", f"{WEB}.acknowledge.http: must be a URL without a user name, a password or a fragment"),
        (CONSUMER % "{acknowledge: {http: 'http://localhost.example.com'}}", f'{WEB}.acknowledge.http: must begin with https:// unless it is this machine, got "http://localhost.example.com"'),
        (CONSUMER % "{acknowledge: {http: 'http://[::1'}}", f'{WEB}.acknowledge.http: is not a URL: "http://[::1"'),
        (CONSUMER % "{acknowledge: {http: 'ftp://b'}}", f'{WEB}.acknowledge.http: must be a URL such as https://ops.example.com/hook, got "ftp://b"'),
        # when
        (SHOP % "rotate: {calendar: monthly}", f'{AT}.rotate.calendar: must be a cron expression of five fields, such as "0 3 1 * *", got "monthly"'),
        (SHOP % "rotate: {calendar: '0 3 1 * * *'}", f'{AT}.rotate.calendar: must be a cron expression of five fields, such as "0 3 1 * *", got "0 3 1 * * *"'),
        (SHOP % "rotate: {calendar: '0 0 31 2 *'}", f'{AT}.rotate.calendar: must be a cron expression of five fields, such as "0 3 1 * *", got "0 0 31 2 *"'),
        (SHOP % "rotate: {cryptoperiod: 30}", f"{AT}.rotate.cryptoperiod: must be a duration with its unit, such as 30s, got 30"),
        (SHOP % "rotate: {cryptoperiod: 0d}", f'{AT}.rotate.cryptoperiod: must be longer than zero, such as 30s, got "0d"'),
        (SHOP % "rotate: {cryptoperiod: quarterly}", f'{AT}.rotate.cryptoperiod: "quarterly" is not a duration (write weeks, days, hours, minutes and seconds in this order, such as 90d, 12h 30m or 45s)'),
        (SHOP % "rotate: {messages: 0}", f"{AT}.rotate.messages: must be a whole number from 1 to 1,000,000,000,000,000, got 0"),
        (SHOP % "rotate: {bytes: 1GB}", f'{AT}.rotate.bytes: must be a whole number from 1 to 1,000,000,000,000,000,000, got "1GB"'),
        (SHOP % "rotate: {every: 30d}", f"{AT}.rotate.every: unknown key, known: cryptoperiod, messages, bytes, calendar"),
        (SHOP % "drains: {cookies: 30}", f"{AT}.drains.cookies: must be a duration with its unit, such as 30s, got 30"),
        (SHOP % "drains: {cookies: 0s}", f'{AT}.drains.cookies: must be longer than zero, such as 30s, got "0s"'),
        (SHOP % "grace: forever", f'{AT}.grace: "forever" is not a duration (write weeks, days, hours, minutes and seconds in this order, such as 90d, 12h 30m or 45s)'),
        (SHOP % "watch: 200y", f'{AT}.watch: "200y" is not a duration (write weeks, days, hours, minutes and seconds in this order, such as 90d, 12h 30m or 45s)'),
        (SHOP % "window: nights", f'{AT}.window: must be a maintenance window, such as "01:00-05:00", "sat,sun 22:00-04:00" or "mon-fri 01:00-05:00 Europe/Berlin" (without a zone: UTC), got "nights"'),
        # of what sort
        (SHOP % "classification: secret", f'{AT}.classification: must be one of public, internal, confidential, restricted; got "secret"'),
        (SHOP % "algorithm: aes", f'{AT}.algorithm: must be one of aes-128-gcm, aes-192-gcm, aes-256-gcm, aes-128-gcm-siv, aes-256-gcm-siv, chacha20-poly1305, xsalsa20-poly1305, fernet, aes-128-cbc, aes-192-cbc, aes-256-cbc, age-x25519, passphrase; got "aes"'),
        (SHOP % "custodians: anna", f"{AT}.custodians: must be a list such as [a, b], got text"),
        (SHOP % "output: []", f'{AT}.output: unknown key, did you mean "outputs"?'),
        (SHOP % "datasets: {orders: {}}", f"{AT}.datasets.orders.census: is required: A program that prints how many ciphertexts are left under the key version CERTROTD_VERSION, whose id is CERTROTD_KEY_ID"),
        (KEK + "keyrings: {Shop: {}}\n", f'2: keyrings.Shop: {NAME}, got "Shop"'),
        (KEK + "keyrings: [shop]\n", "2: keyrings: must be a mapping with a name of your choice for each entry, got a list"),
        (KEK + "keyring: {shop: {}}\n", '2: keyring: unknown key, did you mean "keyrings"?'),
        # KEKs
        ("keks: {main: {type: valt}}\n", '1: keks.main.type: unknown type "valt", did you mean "vault"?'),
        ("keks: {main: {path: /k}}\n", "1: keks.main.type: is required: aws-kms, azure-keyvault, credential, file, gcp-kms, passphrase, pkcs11, vault"),
        ("keks: {main: {type: file, paht: /k, path: /k}}\n", '1: keks.main.paht: unknown key, did you mean "path"?'),
        ("keks: {main: {type: passphrase, passphrase: hunter2}}\n", "1: keks.main.passphrase: must be a reference to the secret, not the secret itself: {file: PATH}, {env: NAME}, {credential: NAME} or {command: [PROGRAM, …]}"),
        ("keks: {main: {type: vault, address: 'https://v', key: k, token: {env: T}, timeout: 10m}}\n", "1: keks.main.timeout: must be at most 5m, got 10m"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_what_would_be_right(
    tmp_path: Path, text: str, expected: str
) -> None:
    """Before a key is made, and where it is written."""
    number, _, rest = expected.partition(": ")
    assert said(refused(tmp_path, text)) == [f"{number}: {rest}"]
    assert len(str(refused(tmp_path, text)[0]).splitlines()) == 1


class TestPaths:
    def test_two_outputs_are_not_written_at_one_path(self, tmp_path: Path) -> None:
        """Each would undo the other; of one keyring or of two."""
        tink = "{type: tink, path: /e/x}"
        text = OUTPUTS % f"{tink}\n    - {tink}"
        file = tmp_path / "config.yaml"
        assert said(refused(tmp_path, text)) == [
            f"7: keyrings.shop.outputs[1]: /e/x is also written by {file}:6: give each its own path"
        ]
        text = OUTPUTS % tink + f"  other: {{outputs: [{tink}]}}\n"
        assert said(refused(tmp_path, text)) == [
            f"7: keyrings.other.outputs[0]: /e/x is also written by {file}:6: "
            "give each its own path"
        ]
        assert config(tmp_path, OUTPUTS % f"{tink}\n    - {{type: tink, path: /e/y}}").keys.keyrings

    def test_an_output_is_not_where_a_certificate_is_installed(self, tmp_path: Path) -> None:
        """Nor is it in place of the KEK, without which no keyring opens."""
        install = "  install: [{privkey: /e/x, fullchain: /e/y}]\n"
        text = MINIMAL + install + OUTPUTS % "{type: tink, path: /e/x}"
        file = tmp_path / "config.yaml"
        assert said(refused(tmp_path, text)) == [
            f"11: keyrings.shop.outputs[0]: /e/x is also written by {file}:5: "
            "give each its own path"
        ]
        text = OUTPUTS % "{type: tink, path: /etc/certrotd/kek}"
        assert said(refused(tmp_path, text)) == [
            f"1: keks.main.path: /etc/certrotd/kek is also written by {file}:6: "
            "give each its own path"
        ]

    @pytest.mark.parametrize(
        ("output", "path"),
        [
            ("{type: tink, path: /srv/state/x}", "/srv/state/x"),
            ("{type: tink, path: /srv/store/shop/x}", "/srv/store/shop/x"),
            ("{type: yaml-ciphers, path: /e/x, stem: a, key_directory: /srv/state}", "/srv/state"),
        ],
    )
    def test_an_output_is_not_inside_certrotds_own_folders(
        self, tmp_path: Path, output: str, path: str
    ) -> None:
        """Only certrotd reads those."""
        own = "state_dir: /srv/state\nstore_dir: /srv/store\n"
        assert said(refused(tmp_path, own + OUTPUTS % output)) == [
            f"8: keyrings.shop.outputs[0]: {path} is inside certrotd's own folder: choose another"
        ]
        beside = output.replace("/srv/state", "/srv/states").replace("/srv/store", "/srv/stores")
        assert config(tmp_path, own + OUTPUTS % beside).keys.keyrings

    @pytest.mark.parametrize(
        ("directory", "why"),
        [
            ("/var/lib/certrotd/backups", "is beside the keyrings in /var/lib/certrotd"),
            ("/var/lib", "is beside the keyrings in /var/lib/certrotd"),
            ("/e", "is where applications read /e/x"),
            ("/e/f", None),
            ("/var/lib/certrotd-backups", None),
        ],
    )
    def test_backups_are_not_kept_beside_what_they_are_backups_of(
        self, tmp_path: Path, directory: str, why: str | None
    ) -> None:
        """What deletes the one deletes the other."""
        backup = f"\n    backup: {{directory: {directory}, recipients: [{AGE}]}}"
        text = OUTPUTS % "{type: tink, path: /e/x}" + backup
        if why is None:
            assert config(tmp_path, text).keys.keyrings["shop"].backup
        else:
            assert said(refused(tmp_path, text)) == [
                f"8: keyrings.shop.backup.directory: {directory} {why}: choose another, best on "
                "another disk or machine"
            ]


class TestRoom:
    """An application that holds few keys, and what makes room for the next."""

    SLOTS = "{type: dotenv, path: /e/x, slots: {v1: A, v2: B}, version: V}"
    TOML = "{type: toml, path: /e/x}"
    DRAINS = "\n    drains: {cookies: 1d}"
    BACKUP = f"\n    backup: {{directory: /b, recipients: [{AGE}]}}"

    @pytest.mark.parametrize(
        ("output", "rest", "missing"),
        [
            (SLOTS, "", "datasets or drains and backup"),
            (SLOTS, DRAINS, "backup"),
            (SLOTS, BACKUP, "datasets or drains"),
            (SLOTS, DRAINS + BACKUP, None),
            (TOML, "", "datasets or drains"),
            (TOML, DRAINS, None),
            ("{type: toml, path: /e/x, previous: null}", "", None),
            (
                "{type: dotenv, path: /e/x, key: A, previous: B, capacity: 2}",
                "",
                "datasets or drains",
            ),
            ("{type: dotenv, path: /e/x, key: A, previous: B}", "", None),
            ("{type: dotenv, path: /e/x, key: A}", "", None),
            ("{type: tink, path: /e/x}", "", None),
        ],
    )
    def test_what_keeps_old_keys_for_ever_is_a_warning(
        self, tmp_path: Path, output: str, rest: str, missing: str | None
    ) -> None:
        """Else the second rotation waits, and only then it is known."""
        words = said(loaded(tmp_path, OUTPUTS % output + rest).warnings)
        assert words == (
            []
            if missing is None
            else [
                "6: keyrings.shop.outputs[0]: the application holds 2 keys, and no old one is ever "
                f"let go: once all are in use, rotations wait; add {missing}"
            ]
        )


class TestKeks:
    def test_keyrings_without_a_kek_are_a_warning(self, tmp_path: Path) -> None:
        """Enough for a first try: who has the state directory has the keys."""
        found = loaded(tmp_path, "keyrings: {shop: {}}\n")
        assert said(found.warnings) == [
            "1: keks: there is none: keyrings are wrapped by /var/lib/certrotd/kek, beside them"
        ]
        [(name, kek)] = found.config.keys.keks.items()
        assert (name, kek) == (
            "state_dir/kek",
            FileKekEntry(type="file", path=Path("/var/lib/certrotd/kek")),
        )

    def test_a_state_in_a_cluster_needs_a_kek_that_outlives_the_pod(self, tmp_path: Path) -> None:
        """Keyrings in Secrets, and what unwraps them in a directory that ends with the pod."""
        state = "state: {type: kubernetes}\n"
        with pytest.raises(ConfigInvalid) as refused:
            loaded(tmp_path, f"{state}keyrings: {{shop: {{keks: [local]}}}}\n")
        assert "keks: there is none, and /var/lib/certrotd/kek ends with its pod" in str(
            refused.value
        )

    def test_neither_a_kek_nor_a_keyring_is_missing_by_itself(self, tmp_path: Path) -> None:
        """The control: who has certificates alone hears of neither."""
        assert config(tmp_path, MINIMAL).keys.keyrings == {}
        assert config(tmp_path, MINIMAL + KEK).keys.keyrings == {}
        assert config(tmp_path, KEK + "keyrings: {shop: {keks: [main]}}\n").keys.keyrings

    def test_a_kek_that_is_wrong_is_not_called_missing(self, tmp_path: Path) -> None:
        """One mistake is one line."""
        text = "keks: {main: {type: file}}\nkeyrings: {shop: {keks: [main]}}\n"
        file = write(tmp_path, text)
        problems, warnings = check(file)
        assert said(problems) == ["1: keks.main.path: is required: The file; its mode must be 0600"]
        assert warnings == ()

    def test_a_wrong_keyring_hides_no_other_mistake(self, tmp_path: Path) -> None:
        """All are told in one run."""
        text = SHOP % "wach: 1d" + "  other: {keks: [mian]}\n"
        assert said(refused(tmp_path, text)) == [
            '5: keyrings.shop.wach: unknown key, did you mean "watch"?',
            '6: keyrings.other.keks[0]: there is no kek "mian", did you mean "main"?',
        ]


class TestFragments:
    def test_keyrings_keks_and_targets_may_each_have_a_file(self, tmp_path: Path) -> None:
        """A team adds a file with its keyring to a host that has certificates."""
        main = write(tmp_path, MINIMAL)
        fragment(tmp_path, "a.yaml", KEK + "keyrings: {a: {keks: [main, second]}}\n")
        fragment(tmp_path, "b.yaml", "keks: {second: {type: credential, name: kek}}\n" + TARGET)
        fragment(tmp_path, "c.yaml", "keyrings: {c: {consumers: {web: {target: web}}}}\n")
        found = load(main)
        assert found.warnings == ()
        assert list(found.config.keys.keyrings) == ["a", "c"]
        assert list(found.config.keys.keks) == ["main", "second"]

    def test_what_is_wrong_in_a_fragment_has_its_place(self, tmp_path: Path) -> None:
        """A name that is there twice, a path that is, and a kek that is not."""
        main = write(tmp_path, KEK + "keyrings:\n  a: {outputs: [{type: tink, path: /etc/x}]}\n")
        fragment(tmp_path, "b.yaml", "# b\nkeyrings:\n  a: {}\n")
        one = fragment(
            tmp_path, "c.yaml", "keyrings:\n  c: {outputs: [{type: tink, path: /etc/y}]}\n"
        )
        fragment(tmp_path, "d.yaml", "keyrings:\n  d: {outputs: [{type: tink, path: /etc/y}]}\n")
        fragment(tmp_path, "e.yaml", "keyrings:\n  e:\n    keks: [man]\n")
        assert problems(main) == [
            f"b.yaml:3: keyrings.a: is already in {main}:3: keep one of them",
            f"d.yaml:2: keyrings.d.outputs[0]: /etc/y is also written by {one}:2: "
            "give each its own path",
            'e.yaml:3: keyrings.e.keks[0]: there is no kek "man", did you mean "main"?',
        ]


def test_the_schema_for_editors_has_data_keys() -> None:
    """With the durations, forms and types that the loader takes."""
    schema = json.loads(json.dumps(json_schema()))
    definitions = schema["$defs"]
    assert {"keks", "keyrings"} <= set(schema["properties"])
    keyring = definitions["KeyringEntry"]["properties"]
    assert set(keyring) == set(KeyringEntry.model_fields)
    assert set(keyring["outputs"]["items"]["discriminator"]["mapping"]) >= {"tink", "template"}
    assert (keyring["grace"]["default"], keyring["watch"]["default"]) == ("1w", "30d")
    http = definitions["HttpAcknowledgement"]["properties"]["http"]
    assert (http["type"], http["maxLength"]) == ("string", 1000)
    rotate = definitions["RotateEntry"]["properties"]
    assert rotate["calendar"]["anyOf"][0] == {"type": "string", "maxLength": 200}
    assert rotate["messages"]["anyOf"][0]["maximum"] == 10**15
    forms = definitions["ConsumerEntry"]["properties"]["acknowledge"]["anyOf"][0]["oneOf"]
    assert [each["$ref"].rpartition("/")[2] for each in forms] == [
        "FileAcknowledgement",
        "HttpAcknowledgement",
        "CommandAcknowledgement",
        "HeartbeatAcknowledgement",
        "ApiServerAcknowledgement",
    ]


_WHOLE = yaml.safe_load(EXAMPLE.read_text())
_PARTS = {name: _WHOLE[name] for name in ("targets", "keks", "keyrings")}
_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "~", "~file", "~command", "[key]", "x" * 5000, "\x00\x1b[2J", "0 0 31 2 *", "*/0 * * * *",
     "http://[::1", "https://a:99999/", "9999999999d", "-1d", "/a/../b", "/\x00", "age1", "type",
     "01:00-02:00 ../../etc/passwd", "file", "http", "heartbeat", "tink", "0777"]
)  # fmt: skip
_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats()
    | st.sampled_from([10**30, float("nan"), float("inf")])
    | _TEXTS
)
_HOSTILE = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


def _mutated(data: st.DataObject, part: object) -> Any:
    """``part`` with something hostile at a random place: instead of a value, or beside it."""
    steps = sorted(part, key=str) if isinstance(part, dict) else None
    if isinstance(part, list) and part:
        at = data.draw(st.integers(0, len(part) - 1))
        return [*part[:at], _mutated(data, part[at]), *part[at + 1 :]]
    if not steps or data.draw(st.integers(0, 5)) == 0:
        return data.draw(_HOSTILE)
    assert isinstance(part, dict)
    if data.draw(st.integers(0, 5)) == 0:
        return {**part, data.draw(_TEXTS): data.draw(_HOSTILE)}
    step = data.draw(st.sampled_from(steps))
    return {**part, step: _mutated(data, part[step])}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_hostile_value_in_a_keyring_is_refused_or_taken(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever is where it should not be, there is one line for it, and nothing else is raised."""
    section = data.draw(st.sampled_from(["keyrings", "keyrings", "keks"]))
    whole = {**_PARTS, section: _mutated(data, _PARTS[section])}
    file = write(tmp_path, yaml.safe_dump(whole, allow_unicode=True))
    with suppress(ConfigInvalid):
        load(file)
    for problem in check(file)[0]:
        assert str(problem).isprintable()
        assert "Input should" not in problem.message
