"""Lines of the programs of the stack, each with the level that it is stored under; none: info."""

LINES = {
    '{"level":"warning","event":"job.postponed"}': "warning",
    '{"level":"critical","event":"event.stopped"}': "critical",
    '{"level":"warn","ts":1.5,"msg":"queue is full"}': "warning",  # the Collector, Jaeger
    '{"level":"dpanic","msg":"x"}': "critical",
    '{"t":{"$date":"x"},"s":"I","c":"NETWORK","msg":"Connection accepted"}': "info",  # MongoDB
    '{"t":{"$date":"x"},"s":"W","c":"CONTROL","msg":"level=error is no level here"}': "warning",
    '{"t":{"$date":"x"},"s":"F","c":"CONTROL","msg":"x"}': "critical",
    '{"t":{"$date":"x"},"s":"D2","c":"QUERY","msg":"x"}': "debug",
    'time=2026-11-26T10:00:00Z level=WARN source=main.go msg="x"': "warning",  # Prometheus
    'logger=migrator t=2026-11-26T10:00:00Z level=error msg="x"': "error",  # Grafana
    'level=info ts=2026-11-26T10:00:00Z msg="level=error"': "info",  # Loki
    "lvl=eror msg=x": "error",
    "1:M 26 Nov 2026 10:00:00.000 # WARNING Memory overcommit must be enabled": "warning",  # Redis
    "1:M 26 Nov 2026 10:00:00.000 * Ready to accept connections tcp": "info",
    "prose that mentions the sea level of 1990": "",
    '{"level":30,"msg":"a number"}': "info",
    '{"msg":"nothing of the kind"}': "",
    "": "",
}
