"""FastAPI: orders are published, and pushed to those who may see them.

pip install 'trunkline' fastapi
python examples/fastapi/app.py
curl -N -H 'Authorization: Bearer ann' 'localhost:8000/events/sse?channels=/users/ann/orders' &
curl -H 'Authorization: Bearer ann' -X POST localhost:8000/orders/7
"""

from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from trunkline import Identity, Trunkline
from trunkline.integrations.fastapi import Line, identity_from, lifespan, mount

USERS = ("ann", "bob")

line = Trunkline()
app = FastAPI(lifespan=lifespan(line))


def current_user(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> str:
    """Know users by their tokens, which are their names here."""
    if credentials.credentials not in USERS:
        raise HTTPException(401)
    return credentials.credentials


def may_read(identity: Identity, channel: str) -> bool:
    """Let users read what is below their own name."""
    return channel.startswith(f"/users/{identity.user_id}/")


@app.post("/orders/{order}")
async def place(order: int, user: Annotated[str, Depends(current_user)], line: Line) -> dict:
    receipt = await line.publish(f"/users/{user}/orders", {"order": order})
    return {"message_id": receipt.message_id}


mount(app, line, "/events", identify=identity_from(current_user, app), access=may_read)

if __name__ == "__main__":
    uvicorn.run(app, port=8000, timeout_graceful_shutdown=5)
