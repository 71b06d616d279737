"""Python clients for the gateway's protocols."""
