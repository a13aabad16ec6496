"""Measures model servers side by side: one at a time on one core, the load on another, ratios within one run.

::

    works       what is served: models, rows, and the models' own answers
    wires       how a row is asked for in each protocol, and how an answer is read            pure
    machine     the two cores, wrk and taskset
    accounting  CPU time, memory and processes of a server, from /proc
    stage       one server at a time: started, found ready, ended with all its children
    load        wrk, and answers compared while it runs
    subjects    our own ways to serve; peers: the servers of others, each in an environment of its own
    course      the order of everything: rounds, so that what drifts meets every subject alike
    results, tables, plot, gate      what was measured, and what follows from it              pure, but for the plot

It judges nothing but the gate: what the figures mean is for who reads them. It changes no repository.
"""
