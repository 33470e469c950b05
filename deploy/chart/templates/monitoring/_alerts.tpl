{{/* Of deploy/monitoring, by make generate. */}}
{{- define "phasegate.alerts" }}
groups:
  - name: phasegate-operator
    rules:
      - alert: PhasegateDown
        expr: absent(phasegate_build_info)
        for: 5m
        labels:
          severity: critical
        annotations:
          summary: Prometheus scrapes no phasegate operator.
          description: >-
            No replica of the operator has answered a scrape for 5 minutes. Gateways keep serving, but starts, stops and repairs do not happen.
            Check that its pods run and that Prometheus can reach them.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatedown
      - alert: PhasegateNoLeader
        expr: max without (instance, pod) (phasegate_leader) == 0
        for: 2m
        labels:
          severity: critical
        annotations:
          summary: phasegate has no leader.
          description: >-
            Replicas run, but none has held the Lease for 2 minutes. Gateways keep serving, but starts, stops and repairs do not happen.
            /readyz of a replica shows why it cannot acquire the Lease.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatenoleader
      - alert: PhasegateTwoLeaders
        expr: sum without (instance, pod) (phasegate_leader) > 1
        for: 2m
        labels:
          severity: critical
        annotations:
          summary: phasegate has more than one leader.
          description: >-
            {{ "{{" }} $value }} replicas have reported to be leader for 2 minutes. Either they run without --leader-election, or two installations share
            the labels job and namespace. Scale to one replica until the cause is known.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatetwoleaders
      - alert: PhasegateQueueStuck
        expr: max without (instance, pod) (phasegate_queue_oldest_wait_seconds) > 120
        for: 5m
        labels:
          severity: critical
        annotations:
          summary: The queue of phasegate is stuck.
          description: >-
            An object has waited for {{ "{{" }} $value | humanizeDuration }}. Starts, stops and repairs are delayed. A mass change drains without action;
            otherwise check whether the API server is slow.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatequeuestuck
      - alert: PhasegateReconcilesPanic
        expr: sum without (instance, pod) (increase(phasegate_reconciles_total{result="panicked"}[15m])) > 0
        labels:
          severity: critical
        annotations:
          summary: A reconcile of a {{ "{{" }} $labels.kind }} panicked.
          description: >-
            A bug in phasegate stopped the reconcile of an object in the last 15 minutes. Other objects are reconciled. The log names the
            object at level ERROR; report it with its YAML.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatereconcilespanic
      - alert: PhasegateReconcilesFail
        expr: >-
          sum without (instance, pod, result) (rate(phasegate_reconciles_total{result="failed"}[10m]))
          / sum without (instance, pod, result) (rate(phasegate_reconciles_total[10m])) > 0.1
          and sum without (instance, pod, result) (increase(phasegate_reconciles_total{result="failed"}[10m])) >= 10
        for: 10m
        labels:
          severity: warning
        annotations:
          summary: Reconciles of {{ "{{" }} $labels.kind }} fail.
          description: >-
            {{ "{{" }} $value | humanizePercentage }} of the reconciles fail on an API server request and are requeued with backoff. The log has the request
            and the error; a removed permission is the usual cause.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatereconcilesfail
  - name: phasegate-gateways
    rules:
      - alert: PhasegateStartsFail
        expr: >-
          sum without (instance, pod, reason) (increase(phasegate_start_timeouts_total[30m]))
          / sum without (instance, pod, reason) (increase(phasegate_start_attempts_total[30m])) > 0.2
          and sum without (instance, pod, reason) (increase(phasegate_start_attempts_total[30m])) >= 5
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: Many gateways miss their start deadline.
          description: >-
            {{ "{{" }} $value | humanizePercentage }} of the attempts of the last 30 minutes failed at their deadline. Check which reason grows in
            phasegate_start_timeouts_total: a single reason points to the cluster, several to the tenants.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatestartsfail
      - alert: PhasegateGatewaysGivenUp
        expr: >-
          max without (instance, pod) (phasegate_gateways_given_up) > 5
          and max without (instance, pod) (phasegate_gateways_given_up)
          > 0.05 * sum without (state, phase) (max without (instance, pod) (phasegate_gateways))
        for: 15m
        labels:
          severity: warning
        annotations:
          summary: "{{ "{{" }} $value }} gateways were stopped at their start deadline."
          description: >-
            More than 5 % of the gateways were stopped at their deadline and need an action. status.lastFailure has the cause. Once it is
            fixed, retry these gateways (kubectl phasegate retry).
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegategatewaysgivenup
      - alert: PhasegateStartsSlow
        expr: >-
          histogram_quantile(0.99, sum without (instance, pod) (rate(phasegate_start_duration_seconds_bucket[30m]))) > 240
          and sum without (instance, pod) (increase(phasegate_start_duration_seconds_count[30m])) >= 10
        for: 15m
        labels:
          severity: warning
        annotations:
          summary: Gateways start just before their deadline.
          description: >-
            1 % of the starts take more than {{ "{{" }} $value | humanizeDuration }}; the default deadline is 5 minutes. Check for slow image pulls and a
            full cluster before starts time out.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatestartsslow
  - name: phasegate-api-server
    rules:
      - alert: PhasegateApiErrors
        expr: >-
          sum without (instance, pod, verb, resource, code) (rate(phasegate_api_requests_total{code=~"5..|none"}[5m]))
          / sum without (instance, pod, verb, resource, code) (rate(phasegate_api_requests_total[5m])) > 0.05
          and sum without (instance, pod, verb, resource, code) (increase(phasegate_api_requests_total[5m])) >= 10
        for: 10m
        labels:
          severity: warning
        annotations:
          summary: API server requests of phasegate fail.
          description: >-
            {{ "{{" }} $value | humanizePercentage }} of the requests got a server error or no response. Start deadlines are paused while the API server is
            unreachable. Check the API server and the network.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateapierrors
      - alert: PhasegateApiThrottled
        expr: >-
          sum without (instance, pod, verb, resource, code) (rate(phasegate_api_requests_total{code="429"}[5m]))
          / sum without (instance, pod, verb, resource, code) (rate(phasegate_api_requests_total[5m])) > 0.05
          and sum without (instance, pod, verb, resource, code) (increase(phasegate_api_requests_total[5m])) >= 10
        for: 10m
        labels:
          severity: warning
        annotations:
          summary: The API server throttles phasegate.
          description: >-
            {{ "{{" }} $value | humanizePercentage }} of the requests got 429. Starts take longer. Check which FlowSchema matches them; lower
            --concurrency, or give the operator its own priority level.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateapithrottled
      - alert: PhasegateWatchesRestart
        expr: sum without (instance, pod) (increase(phasegate_watch_restarts_total[15m])) > 20
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: The watch of {{ "{{" }} $labels.resource }} restarts too often.
          description: >-
            It restarted {{ "{{" }} $value | humanize }} times in 15 minutes, so changes of {{ "{{" }} $labels.resource }} are noticed late. /readyz shows the cause: a missing
            permission or CustomResourceDefinition, or a proxy that ends long requests.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegatewatchesrestart
  - name: phasegate-registry
    rules:
      - alert: PhasegateRegistryDown
        expr: max without (instance, pod) (phasegate_registry_up) == 0
        for: 5m
        labels:
          severity: critical
        annotations:
          summary: The registry {{ "{{" }} $labels.registry }} is unavailable.
          description: >-
            The operator has had no response from it for 5 minutes. Gateways keep serving; new gateways and deletions wait, and start deadlines
            are paused. Check the database and the network.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateregistrydown
      - alert: PhasegateRegistryIndexesMissing
        expr: max without (instance, pod) (phasegate_registry_missing_indexes) > 0
        for: 15m
        labels:
          severity: warning
        annotations:
          summary: "{{ "{{" }} $value }} indexes of the registry {{ "{{" }} $labels.registry }} cannot be created."
          description: >-
            Documents have duplicates: of a gatewayId, or of a name in a gateway. These are not reconciled, and all queries are slower. The log
            names the index; remove the duplicates and restart the operator.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateregistryindexesmissing
      - alert: PhasegateEventsLate
        expr: max without (instance, pod) (phasegate_events_lag_seconds) > 300
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: Events of transitions wait for {{ "{{" }} $value | humanizeDuration }}.
          description: >-
            The sink of --events-sink does not take events. Gateways are not affected. An event is lost when its gateway makes 20 more
            transitions. Check the sink, its secret and the network.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateeventslate
      - alert: PhasegateEventsMissed
        expr: sum without (instance, pod) (increase(phasegate_events_missed_total[15m])) > 0
        labels:
          severity: warning
        annotations:
          summary: Transitions were not delivered to the sink.
          description: >-
            {{ "{{" }} $value | humanize }} transitions have no event: the sink refused them or was down for too long, or a gateway was deleted. The log
            names the gateways. Receivers must read their state from the API server.
          runbook_url: https://github.com/phasegate/phasegate/blob/main/docs/src/operations/runbook.md#phasegateeventsmissed
{{- end }}
