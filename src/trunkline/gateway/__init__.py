"""The gateway: an ASGI application that speaks every protocol a listener may want."""
