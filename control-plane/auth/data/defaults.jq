# From a list of RBAC objects to upstream.jsonl.
.items
| map(select(.metadata.labels["kubernetes.io/bootstrapping"] == "rbac-defaults"))
| sort_by(.kind, .metadata.namespace, .metadata.name)
| .[]
| {
    kind,
    metadata: (
      {name: .metadata.name}
      + (if .metadata.namespace then {namespace: .metadata.namespace} else {} end)
      + ((.metadata.labels | del(.["kubernetes.io/bootstrapping"])) | if length > 0 then {labels: .} else {} end)
    ),
    aggregationRule,
    rules,
    roleRef: (if .roleRef then (.roleRef | del(.apiGroup)) else null end),
    subjects: (if .subjects then (.subjects | map(del(.apiGroup))) else null end)
  }
| with_entries(select(.value != null))
