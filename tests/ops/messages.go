// Renders texts as Grafana does: annotations of rules and templates of messages.
package main

import (
	"encoding/json"
	"fmt"
	html "html/template"
	"os"
	"strings"
	"text/template"
	"time"
)

type Value struct{ Value float64 }

type Alert struct {
	Status              string
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	SilenceURL          string
}

type Alerts []Alert

func (all Alerts) with(status string) (found []Alert) {
	for _, each := range all {
		if each.Status == status {
			found = append(found, each)
		}
	}
	return found
}
func (all Alerts) Firing() []Alert   { return all.with("firing") }
func (all Alerts) Resolved() []Alert { return all.with("resolved") }

type Message struct {
	Status string
	Alerts Alerts
}

type Input struct {
	Annotations []struct {
		Text   string
		Labels map[string]string
		Value  *float64
	}
	Templates string
	Messages  []struct {
		Text    string
		Message Message
	}
	Mails []struct{ Template, Title, Message string }
}

func number(format string) func(any) (string, error) {
	return func(value any) (string, error) {
		if _, ok := value.(float64); !ok {
			return "", fmt.Errorf("can't convert %T to float", value) // as Prometheus' functions do
		}
		return fmt.Sprintf(format, value), nil
	}
}

func render(text, option string, before *template.Template, data any) string {
	functions := template.FuncMap{
		"humanize": number("%.4g"), "humanizePercentage": number("%.4g %%"),
		"humanizeDuration": number("%.4g s"),
	}
	if before == nil {
		before = template.New("")
	}
	parsed := template.Must(before.New("text").Funcs(functions).Option(option).Parse(text))
	var out strings.Builder
	if err := parsed.Execute(&out, data); err != nil {
		return "ERROR " + err.Error()
	}
	return strings.ReplaceAll(out.String(), "<no value>", "[no value]")
}

// Grafana gives a mail's template the subject and the rendered text.
func mail(text, title, message string) string {
	functions := html.FuncMap{
		"splitList":     func(by, text string) []string { return strings.Split(text, by) },
		"HiddenSubject": func(any, string) string { return "" },
	}
	var out strings.Builder
	parsed := html.Must(html.New("mail").Funcs(functions).Parse(text))
	data := map[string]any{"Message": message, "Title": title, "Subject": nil}
	if err := parsed.Execute(&out, data); err != nil {
		return "ERROR " + err.Error()
	}
	return out.String()
}

func main() {
	var input Input
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		panic(err)
	}
	found := []string{}
	for _, each := range input.Annotations {
		values := map[string]Value{}
		if each.Value != nil {
			values["A"] = Value{*each.Value}
		}
		data := map[string]any{"Labels": each.Labels, "Values": values}
		text := "{{ $labels := .Labels }}{{ $values := .Values }}" + each.Text
		found = append(found, render(text, "missingkey=invalid", nil, data))
	}
	for _, each := range input.Messages {
		before := template.Must(template.New("").Option("missingkey=zero").Parse(input.Templates))
		found = append(found, render(each.Text, "missingkey=zero", before, each.Message))
	}
	for _, each := range input.Mails {
		found = append(found, mail(each.Template, each.Title, each.Message))
	}
	json.NewEncoder(os.Stdout).Encode(found)
}
