"""What is measured, as processes of their own that obey a control socket."""
