"""The observe plugin: software that its vendor updates past the gate, and that nobody here can hold."""
