"""Several hosts on one machine: one is cut off while it works, and comes back."""
