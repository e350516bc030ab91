"""What `gatehouse doctor` says about installations that are well, and about each way of being ill."""

import socket

import pytest
import requests

from conftest import PATIENCE
from smtp_sink import Sink, authority

ERP = '[[instance]]\nname = "erp"\nurl = "http://erp.localhost:8080"\n'


def examine(installation, *more, code=0):
    done = installation.json("doctor", *more, code=code)
    return {(each["area"], each["level"]): each for each in done}, done


def said(found, level, area):
    return " | ".join(f'{each["what"]} → {each.get("mend")}' for each in found if (each["level"], each["area"]) == (level, area))


@pytest.fixture
def well(installation):
    installation.configure()
    installation.run("instance", "create", "erp")
    return installation


def test_a_well_installation_is_told_so(well):
    kinds, found = examine(well)
    assert {level for _, level in kinds} == {"ok"}, found
    assert {area for area, _ in kinds} == {"config", "database", "keys", "records", "disk", "files", "mail", "proxies"}
    assert "SQLite 3" in said(found, "ok", "database") and "durable commit" in said(found, "ok", "database")
    assert "next rotation in" in said(found, "ok", "keys")
    text = well.run("doctor").stdout
    assert text.startswith("OK ") and "PROBLEM" not in text


def test_it_changes_nothing_and_works_beside_a_running_server(well):
    server = well.serve()
    examine(well)
    assert requests.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200
    server.stop()


@pytest.mark.parametrize("stage", ["no file", "no tables"])
def test_a_database_that_was_never_made_is_not_made_by_looking(installation, stage):
    installation.configure()
    if stage == "no tables":
        (installation.folder / "house.db").touch(mode=0o600)
    _, found = examine(installation, code=1)
    assert "instance create" in said(found, "problem", "database")
    if stage == "no file":
        assert not (installation.folder / "house.db").exists()
    assert installation.run("doctor", code=1).stderr.startswith("gatehouse: 1 problem")


def test_a_foreign_master_key_and_open_files_are_found(well):
    (well.folder / "house.db").chmod(0o644)
    well.secret("master.key", "A" * 43 + "=")
    _, found = examine(well, code=1)
    assert "wrong master key for this database" in said(found, "problem", "keys")
    assert "chmod 600" in said(found, "problem", "files")
    (well.folder / "house.db").chmod(0o600)
    (well.folder / "master.key").chmod(0o640)
    _, found = examine(well, code=1)
    assert "accessible to others" in said(found, "problem", "keys")


def test_an_instance_without_its_database_or_configuration_is_found(well):
    path = well.folder / "gatehouse.toml"
    more = '[[instance]]\nname = "shop"\nurl = "http://shop.localhost:8080"\n'
    path.write_text(path.read_text() + more)
    _, found = examine(well, code=1)
    assert "gatehouse instance create shop" in said(found, "problem", "database")
    well.run("instance", "create", "shop")
    path.write_text(path.read_text().replace(more, ""))
    _, found = examine(well)
    assert "shop" in said(found, "warning", "database")


def test_proxies_that_trust_strangers_are_found(well):
    for networks, level in [('["10.0.0.0/8", "fd00::/8"]', "ok"), ('["8.8.8.0/24"]', "warning"), ('["0.0.0.0/0"]', "problem")]:
        well.configure(top=f"trusted_proxies = {networks}")
        _, found = examine(well, code=int(level == "problem"))
        assert said(found, level, "proxies"), found


@pytest.mark.parametrize(
    "names, days, level, words",
    [
        (["erp.example.com"], 60, "warning", "by an authority that browsers do not trust"),
        (["erp.example.com"], 5, "warning", "expires in"),
        (["elsewhere.example.com"], 60, "problem", "does not cover erp.example.com"),
        (["erp.example.com"], -0.5, "problem", "expired"),
    ],
)
def test_a_certificate_is_judged_by_its_names_and_its_end(installation, tmp_path, names, days, level, words):
    leaf, key, _ = authority(tmp_path, names=names, days=days)
    installation.configure(f'[tls]\ncertificate = "{leaf}"\nprivate_key = "{key}"\n')
    path = installation.folder / "gatehouse.toml"
    path.write_text(path.read_text().replace("http://erp.localhost:8080", "https://erp.example.com"))
    installation.run("instance", "create", "erp")
    _, found = examine(installation, code=int(level == "problem"))
    assert words in said(found, level, "tls"), found


def test_a_key_of_another_certificate_is_found(installation, tmp_path):
    (tmp_path / "other").mkdir()
    leaf, _, _ = authority(tmp_path)
    _, key, _ = authority(tmp_path / "other")
    installation.configure(f'[tls]\ncertificate = "{leaf}"\nprivate_key = "{key}"\n')
    _, found = examine(installation, code=1)
    assert "does not match the first certificate" in said(found, "problem", "tls")


def test_a_mail_server_is_greeted_and_its_login_tried(well, tmp_path):
    leaf, key, root = authority(tmp_path)
    sink = Sink(tls=(leaf, key), login=("gate", "right"))
    mail = (
        f'[mail]\nhost = "localhost"\nport = {sink.port}\nfrom = "a@example.com"\nauthority = "{root}"\n'
        'username = "gate"\npassword = { file = "smtp.password" }\n'
    )
    well.secret("smtp.password", "right")
    well.configure(mail)
    _, found = examine(well)
    assert "login accepted" in said(found, "ok", "mail")
    well.secret("smtp.password", "wrong")
    _, found = examine(well, code=1)
    assert "535" in said(found, "problem", "mail")
    well.configure(mail.replace(f'authority = "{root}"\n', ""))
    _, found = examine(well, code=1)
    assert "ertificate" in said(found, "problem", "mail")
    sink.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        well.configure(f'[mail]\nhost = "localhost"\nport = {unused.getsockname()[1]}\nfrom = "a@example.com"\n')
        _, found = examine(well, code=1)
        assert said(found, "problem", "mail")


def test_the_way_in_is_tried_only_if_asked(well):
    server = well.serve()
    path = well.folder / "gatehouse.toml"
    good = path.read_text().replace("erp.localhost:8080", f"localhost:{server.port}")
    path.write_text(good)
    kinds, found = examine(well, "--reach")
    assert "answers" in said(found, "ok", "reach")
    server.stop()
    _, found = examine(well, "--reach", code=1)
    assert "cannot be reached" in said(found, "problem", "reach")
    kinds, _ = examine(well)
    assert ("reach", "problem") not in kinds
