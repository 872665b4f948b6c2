"""Sweeps of Decomposable Flow Matching on Ray: plan, train, evaluate, track."""
