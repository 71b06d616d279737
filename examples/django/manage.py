"""Django: orders are stored and published in one transaction, and pushed to those who placed them.

pip install trunkline django
python examples/django/manage.py demo
curl -c ann -d 'name=ann&password=ann' localhost:8000/login
curl -N -b ann 'localhost:8000/events/sse?channels=/users/1/orders' &
curl -b ann -X POST localhost:8000/orders/7
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
