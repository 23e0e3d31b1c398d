{{- define "type" -}}
{{- $type := . -}}
{{- if markdownShouldRenderType $type }}
### {{ $type.Name }}
{{ if $type.IsAlias }}
A {{ markdownRenderTypeLink $type.UnderlyingType }}.
{{ end }}
{{ $type.Doc }}
{{ if $type.References }}
In: {{ range $i, $reference := $type.SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $reference }}{{ end }}
{{ end }}
{{- if $type.Members }}
| field | type | what it says | rules |
|---|---|---|---|
{{ range $type.Members -}}
| `{{ .Name }}` | {{ markdownRenderType .Type }} | {{ template "type_members" . }} | {{ range $i, $rule := .Validation }}{{ if $i }}<br>{{ end }}{{ if eq $rule "Optional: {}" }}optional{{ else }}{{ markdownRenderFieldDoc $rule }}{{ end }}{{ end }} |
{{ end -}}
{{- end }}
{{- if $type.EnumValues }}
| value | what it means |
|---|---|
{{ range $type.EnumValues -}}
| `{{ .Name }}` | {{ markdownRenderFieldDoc .Doc }} |
{{ end -}}
{{- end }}
{{- if $type.Validation }}
{{- range $type.Validation }}
- {{ . }}
{{- end }}
{{ end }}
{{- end -}}
{{- end -}}
