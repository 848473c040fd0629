{{- define "labels" -}}
app.kubernetes.io/name: rollback-receiver
{{- end }}

{{- define "configuration" -}}
{{- $text := required "config is missing: --set-file config=receiver.yaml" .Values.config -}}
{{- $config := fromYaml $text -}}
{{- with $config.Error }}{{ fail (printf "config is no YAML: %s" .) }}{{ end -}}
{{- $state := dig "kubernetes" "state_namespace" "rollback-receiver" $config -}}
{{- if ne $state .Release.Namespace }}{{ fail (printf "kubernetes.state_namespace of the configuration is %s, and this is installed in %s" $state .Release.Namespace) }}{{ end -}}
{{- if not (dig "kubernetes" "namespaces" list $config) }}{{ fail "kubernetes.namespaces of the configuration names no namespace" }}{{ end -}}
{{- $port := (get $config "server" | default dict).port | default 8080 | int -}}
{{- if ne $port 8080 }}{{ fail (printf "server.port of the configuration is %d, and probes and the Service go to 8080" $port) }}{{ end -}}
{{- toYaml $config -}}
{{- end }}

{{- /*
Its name ends in a hash of what it says: another configuration is another rollout. It is the one that
kustomize makes (api/hasher, which leaves the name empty), so that both ways name it the same.
*/ -}}
{{- define "config-name" -}}
{{- $name := "rollback-receiver-config" -}}
{{- $data := dict "receiver.yaml" .Values.config -}}
{{- $hash := dict "kind" "ConfigMap" "name" "" "data" $data | toJson | sha256sum | trunc 10 -}}
{{- $name }}-{{ $hash | replace "0" "g" | replace "1" "h" | replace "3" "k" | replace "a" "m" | replace "e" "t" -}}
{{- end }}
