"""Guests as libvirt domains: pure translation to XML, a thin driver, and the probe of the acceleration."""
