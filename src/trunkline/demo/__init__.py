"""The demo: a page with a chat room and this machine's vitals, over one durable line."""
