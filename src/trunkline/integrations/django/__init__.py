"""Django: ``trunkline.integrations.django`` in INSTALLED_APPS, and the settings TRUNKLINE.

``line`` is the process's line, made when it is first used; ``publish`` publishes through Django's
own connection, so that what is published in ``atomic()`` exists if and only if that commits.
"""

from __future__ import annotations

from trunkline.integrations.django.changes import tell_changes
from trunkline.integrations.django.lines import line, publish
from trunkline.integrations.receiver_django import received, webhook

__all__ = ["line", "publish", "received", "tell_changes", "webhook"]
