"""The shop's pages."""

from django.urls import path

from shop import views

urlpatterns = [path("login", views.sign_in), path("orders/<int:number>", views.place)]
