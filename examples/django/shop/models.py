"""What the shop stores."""

from django.conf import settings
from django.db import models


class Order(models.Model):
    """An order."""

    number = models.IntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return f"order {self.number}"
