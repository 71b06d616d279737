"""Plain synchronous views."""

from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from shop.models import Order
from trunkline.integrations.django import publish


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(username=request.POST["name"], password=request.POST["password"])
    if user is None:
        return HttpResponse(status=401)
    login(request, user)
    return HttpResponse(status=204)


@require_POST
@login_required
def place(request: HttpRequest, number: int) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(number=number, user=request.user)
        publish(f"/users/{request.user.pk}/orders", {"order": number})
        if number == 0:
            raise ValueError("no such order: neither row nor message is kept")
    return JsonResponse({"id": order.pk})
