"""What a request costs, as ratios of one run: `make bench`.

Real processes on this machine: the services with all telemetry on and a receiver of spans, embedded
servers from PyPI behind them, and stand-ins to compare with. Rounds ask each in turn, so that all
see the same noise of the machine; what counts is the median of the rounds. Requests a second are of
16 connections to one process, CPU is that of the process (user and system, from /proc).
"""
