"""Flask: orders are stored and published in one transaction, and polled by those who placed them.

pip install trunkline flask flask-login sqlalchemy
python examples/flask/app.py
curl -H 'Authorization: Bearer ann' -X POST localhost:8000/orders/7
T='Authorization: Bearer ann'
curl -H "$T" -d /users/ann/orders=0 localhost:8000/events/message-bus/me/poll
"""

import os
from pathlib import Path

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from trunkline import Identity
from trunkline.integrations.flask import FlaskLine

FOLDER = Path(os.environ.get("SHOP_FOLDER", ".")).absolute()
USERS = ("ann", "bob")

app = Flask(__name__)
app.config["TRUNKLINE"] = {"log": f"sqlite:///{FOLDER}/trunkline.db"}
users = LoginManager(app)
engine = create_engine(f"sqlite:///{FOLDER}/shop.db")


class Model(DeclarativeBase):
    """Be stored."""


class Order(Model):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class User(UserMixin):
    """A user."""

    def __init__(self, name: str) -> None:
        self.id = name


@users.request_loader
def load(request):
    """Know users by their tokens, which are their names here."""
    name = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return User(name) if name in USERS else None


def may_read(identity: Identity, channel: str) -> bool:
    """Let users read what is below their own name."""
    return channel.startswith(f"/users/{identity.user_id}/")


live = FlaskLine(app, access=may_read)
live.line.attach_outbox(engine)
Model.metadata.create_all(engine)


@app.post("/orders/<int:number>")
@login_required
def place(number: int):
    with Session(engine) as session, session.begin():
        session.add(Order(number=number))
        live.publish(f"/users/{current_user.id}/orders", {"order": number}, tx=session)
        if number == 0:
            raise ValueError("no such order: neither row nor message is kept")
    return {"order": number}


@live.line.consumer("mails", "/users/*/orders")
def mail(message, tx):
    tx.publish("/mails", f"order {message.data['order']} is confirmed")


if __name__ == "__main__":
    app.run(port=8000)
