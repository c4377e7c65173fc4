"""The executable definition: every operator, block and scheme in plain NumPy.

Nothing here is tuned. Each file says one formula and then computes it, under the same name as its
C++ counterpart; ``amcore.solve(..., backend="reference")`` runs it, and the tests hold the compiled
core to it.
"""
