"""``manage.py demo``: make the tables, two users, and serve."""

import uvicorn
from django.contrib.auth.models import User
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    """Serve the shop."""

    help = "Make tables and users (ann and bob, whose passwords are their names), and serve."

    def add_arguments(self, parser):
        """Take the port."""
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--only-prepare", action="store_true")

    def handle(self, *, port, only_prepare, **_):
        """Do it."""
        call_command("migrate", verbosity=0)
        for name in ("ann", "bob"):
            if not User.objects.filter(username=name).exists():
                User.objects.create_user(name, password=name)
        if not only_prepare:
            app = "trunkline.integrations.django.asgi:application"
            uvicorn.run(app, port=port, timeout_graceful_shutdown=5)
