"""Machines that really boot, panic and die: QEMU guests under software emulation, with the shipped agent."""
