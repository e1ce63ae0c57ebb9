"""How an application reads its keys: one module per format, behind one port."""
