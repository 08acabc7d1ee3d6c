"""Makes pretix's database and what the tests need in it, if it is not there; writes the tokens `token` and `admin`."""

import configparser
import os
import pathlib

import django
import psycopg2
from django.conf import settings
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "pretix.settings"


class NoMigrations:
    """Tables straight from the models, as pretix's own tests make them: its hundreds of migrations take minutes."""

    def __contains__(self, app):
        return True

    def __getitem__(self, app):
        return None


def execute(database, statement, *values):
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(os.environ["PRETIX_CONFIG_FILE"])
    server = configuration["database"]
    connection = psycopg2.connect(host=server["host"], port=server["port"], user=server["user"], dbname=database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(statement, values)
    rows = cursor.rowcount
    connection.close()
    return rows


def is_filled():
    """Whether the tokens are those of the database."""
    try:
        token = pathlib.Path("token").read_text()
        return execute("pretix", "select from pretixbase_teamapitoken where token = %s", token) == 1
    except (FileNotFoundError, psycopg2.Error):
        return False


def create_database():
    execute("postgres", "drop database if exists pretix with (force)")
    execute("postgres", "create database pretix")
    settings.MIGRATION_MODULES = NoMigrations()
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def fill():
    from django.utils.timezone import now
    from django_scopes import scope

    from pretix.base.models import Organizer

    organizer = Organizer.objects.create(name="Acme", slug="acme")
    with scope(organizer=organizer):
        event = organizer.events.create(
            name="Concert", slug="concert", currency="EUR", date_from=now(), live=True,
            plugins="pretix.plugins.manualpayment",
        )
        event.settings.timezone = "Europe/Paris"
        tax = event.tax_rules.create(name="VAT", rate="5.50")
        seat = event.items.create(name="Seat", default_price="19.90", tax_rule=tax)
        event.quotas.create(name="Seats", size=None).items.add(seat)
        reader = organizer.teams.create(
            name="Passerelle", all_events=True, limit_event_permissions={"event.orders:read": True}
        )
        admin = organizer.teams.create(
            name="Tests", all_events=True, all_event_permissions=True, all_organizer_permissions=True
        )
        for name, team in [("admin", admin), ("token", reader)]:
            pathlib.Path(name).write_text(team.tokens.create(name=name).token)


if not is_filled():
    create_database()
    fill()
