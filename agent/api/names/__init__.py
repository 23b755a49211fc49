"""The name server of guests, at 100.100.2.136 in each VPC."""
