{{/* The name of all objects: the release's, with the chart's unless it is in it. */}}
{{- define "maskery.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{/* The service that clients use; that of replicas is made by KubeRay. */}}
{{- define "maskery.service" -}}
{{ include "maskery.name" . }}{{ if .Values.ray.enabled }}-serve-svc{{ end }}
{{- end }}

{{/* Not app.kubernetes.io/name, by which KubeRay finds the pods of its own. */}}
{{- define "maskery.selector" -}}
app.kubernetes.io/component: segmentation
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "maskery.labels" -}}
{{ include "maskery.selector" . }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What a pod has in both variants. */}}
{{- define "maskery.pod" -}}
terminationGracePeriodSeconds: {{ add .Values.gracePeriod 15 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # A volume with many files is not changed file by file at each start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a container has: the image, its confinement, the settings and the volume. */}}
{{- define "maskery.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - name: MASKERY_GRACE_PERIOD
    value: {{ .Values.gracePeriod | quote }}
  {{- range $name, $value := .Values.settings }}
  - name: MASKERY_{{ $name }}
    value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
  {{- end }}
  {{- range $name, $secret := .Values.secretSettings }}
  - name: MASKERY_{{ $name }}
    valueFrom:
      secretKeyRef: {{- toYaml $secret | nindent 8 }}
  {{- end }}
  {{- if .Values.ray.enabled }}
  - name: RAY_USAGE_STATS_ENABLED
    value: "0"
  - name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH
    value: maskery.cluster.proxy:middlewares
  {{- end }}
volumeMounts:
  - {name: home, mountPath: /var/lib/maskery}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.ray.enabled }}
  - {name: shm, mountPath: /dev/shm}
  {{- end }}
{{- end }}

{{/* Installs models, and creates a key if there is none. */}}
{{- define "maskery.setup" -}}
- name: setup
  {{- include "maskery.container" . | nindent 2 }}
  resources: {{- toYaml .Values.resources | nindent 4 }}
  command: [sh, -euc]
  args:
    - |
      umask 077
      {{- range .Values.models }}
      maskery models show {{ . }} >/dev/null 2>&1 || maskery models install {{ . }}
      {{- end }}
      # The first line is the table's head.
      if [ -z "$(maskery keys list | sed 1d)" ]; then
        maskery keys create --quiet --account {{ .Values.firstKey.account }} --scopes {{ .Values.firstKey.scopes }} \
          --name "first key" >/var/lib/maskery/first-key
      fi
{{- end }}
