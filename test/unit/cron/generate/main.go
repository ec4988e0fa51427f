// Writes what robfig/cron, by which Kubernetes starts CronJobs, says of schedules: what it accepts, and when they fire.
// One line of JSON each: [schedule] where it refuses, else [schedule, zone, instant, [minutes, ...]]: the times that follow
// the instant (seconds since 1970), each as minutes after the one before, the first after the instant's own minute; null
// where none follows. The instants lie where the tz databases of Go and of Node agree. To write the file again:
//
//	go run . > ../figures.jsonl
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	timesPerLine = 4
	randomLines  = 5000
)

// A zone, and days around which its clocks change.
var zones = map[string][]string{
	"UTC":                 {"2028-02-28"},
	"Europe/London":       {"2026-03-29", "2026-10-25"},
	"America/New_York":    {"2026-03-08", "2026-11-01"},
	"Australia/Lord_Howe": {"2026-04-05", "2026-10-04"}, // half an hour
	"America/Sao_Paulo":   {"2017-10-15", "2018-02-18"}, // at midnight
	"Asia/Kolkata":        {"2026-06-01"},
	"Africa/Cairo":        {"2026-04-24", "2026-10-30"}, // at midnight
	"America/Havana":      {"2026-03-08", "2026-11-01"}, // midnight comes twice
	"Asia/Beirut":         {"2026-03-29", "2026-10-25"}, // at midnight
	"Pacific/Apia":        {"2020-04-05", "2020-09-27"},
	"Atlantic/Azores":     {"2026-03-29", "2026-10-25"}, // at midnight
	"America/Santiago":    {"2026-04-05", "2026-09-06"}, // at midnight
	"America/Nuuk":        {"2026-03-28", "2026-10-24"}, // the hour before midnight
	"Antarctica/Troll":    {"2026-03-29", "2026-10-25"}, // two hours
	"Pacific/Chatham":     {"2026-04-05", "2026-09-27"}, // 45 minutes beside the hour
}

var zoneNames = []string{
	"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Cairo",
	"America/Havana", "Asia/Beirut", "Pacific/Apia", "Atlantic/Azores", "America/Santiago", "America/Nuuk",
	"Antarctica/Troll", "Pacific/Chatham",
}

// Tried at every change of every zone's clocks.
var aroundChanges = []string{
	"* * * * *", "*/20 * * * *", "30 * * * *", "0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "59 1 * * *", "0 2 * * *",
	"30 2 * * *", "45 3 * * *", "30 23 * * *", "0 */2 * * *", "*/15 0-3,23 * * *", "30 2 * * 0", "0 0 * * 1", "15 1 1,15 * *",
	"0 0,1,2 * * 5-6", "@daily", "@hourly", "@weekly", "@monthly",
}

// Tried in every zone at an instant that is ordinary.
var curious = []string{
	// Days of the month and of the week: both where one of them begins with a star, either where none does.
	"0 0 */1 * 1", "0 0 ?/1 * 1", "0 0 */2 * 1", "0 0 1-31 * 1", "0 0 1-31/1 * 1", "0 0 *,5 * 1", "0 0 5,* * 1", "0 0 13 * 5", "0 0 13 * */1",
	"0 0 13 * */2", "0 0 13 * 0-6", "0 0 * * 1", "0 0 ? * MON-FRI", "0 0 1/1 * 1", "0 0 *-5 * 1", "*-nonsense 3 * * *",
	// Never, or seldom.
	"0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb *", "0 0 29 2 *", "0 0 30 2 1", "0 0 30 2 */1", "0 0 31 2 ?",
	", * * * *", "* , * * *", "0 3 , * *", "0 3 * , *", "0 3 * * ,", "0 3 , * ,", "0 3 , * 1", "0 3 1 * ,", "0 0 31 */2 *", "30 2 29 3 *",
	// Steps, commas, signs, names, space.
	"0 3 * * 1,2,", ",0 3 * * *", "0,,30 3 * * *", "*/90 * * * *", "5/90 * * * *", "10-20/1000 * * * *", "0 */25 * * *", "0 0 */40 * *",
	"0 0 1 */13 *", "0 0 * * MON/9", "+5 3 * * *", "05 003 * * *", "5/15 * * * *", "*/7 3-5 1,15 * *", "0 0 1 jAn,JUL sUn", "\t0  3 *\t* * ",
	"0\u00a03 * * *", "0\u00853 * * *", "\ufeff0 3 * * *", "0 0/9223372036854775807 * * *", "0 0/9223372036854775808 * * *", "0 5-5 * * *",
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
	// Refused, most of them.
	"", " ", "daily", "@Daily", "@daily ", " @daily", "@noon", "@", "99 3 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *",
	"* * * 0 *", "* * * 13 *", "* * * * 7", "* * * * sunday", "0 3 * *", "0 0 3 * * *", "0 0 3 * * * *", "*/0 * * * *", "* */0 * * *", "5-3 * * * *",
	"1-2-3 * * * *", "1/2/3 * * * *", "*/ * * * *", "/5 * * * *", "-5 * * * *", "5- * * * *", "*/-5 * * * *", "1.5 * * * *", "1e1 * * * *",
	"0x1 * * * *", "1_0 * * * *", "** * * * *", "L * * * *", "0 0 L * *", "0 0 15W * *", "0 0 * * 5#3", "0 0 * * 5L", "H * * * *", "* * * * 6-0",
	"sat-sun * * * *", "0 0 * * sat-sun", "0 0 * * mon-wed-fri", "mon * * * *", "0 0 mon * *", "0 0 1 mon *", "\u0663 * * * *", "%",
	"*/18446744073709551616 * * * *", "*/+5 * * * *", "+ * * * *", "++5 * * * *", "0 3 * * *,", "0 3 * * *;", "'0 3 * * *'",
}

var random = rand.New(rand.NewSource(2026))

func pick(options ...string) string { return options[random.Intn(len(options))] }

// One part of a field, within its limits but now and then.
func part(min, max int, names []string) string {
	value := func() string {
		if names != nil && random.Intn(3) == 0 {
			return names[random.Intn(len(names))]
		}
		number := min + random.Intn(max-min+1)
		if random.Intn(150) == 0 {
			number = max + 1 + random.Intn(9)
		}
		return fmt.Sprint(number)
	}
	text := value()
	switch random.Intn(5) {
	case 0:
		text = pick("*", "*", "?")
	case 1:
		text += "-" + value()
	}
	if random.Intn(4) == 0 {
		text += fmt.Sprintf("/%d", 1+random.Intn(max))
	}
	return text
}

func field(min, max int, names []string) string {
	if random.Intn(3) == 0 {
		return "*"
	}
	parts := []string{part(min, max, names)}
	for random.Intn(3) == 0 {
		parts = append(parts, part(min, max, names))
	}
	return strings.Join(parts, ",")
}

var (
	monthNames = []string{"jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	dayNames   = []string{"sun", "Mon", "TUE", "wed", "thu", "fri", "sat"}
)

func randomSchedule() string {
	return strings.Join([]string{
		field(0, 59, nil), field(0, 23, nil), field(1, 31, nil), field(1, 12, monthNames), field(0, 6, dayNames),
	}, " ")
}

var output = json.NewEncoder(os.Stdout)
var refused = map[string]bool{}

func write(schedule, zone string, after time.Time) {
	if _, err := cron.ParseStandard(schedule); err != nil {
		if !refused[schedule] {
			refused[schedule] = true
			check(output.Encode([]any{schedule}))
		}
		return
	}
	// As the CronJob controller does it: the zone goes before the schedule, and its own clock is in UTC.
	parsed, err := cron.ParseStandard("TZ=" + zone + " " + schedule)
	if err != nil {
		check(output.Encode([]any{schedule}))
		return
	}
	times := []any{}
	last := after.Unix() / 60
	for next := after.UTC(); len(times) < timesPerLine; {
		next = parsed.Next(next)
		if next.IsZero() {
			times = append(times, nil)
			break
		}
		times = append(times, next.Unix()/60-last)
		last = next.Unix() / 60
	}
	check(output.Encode([]any{schedule, zone, after.Unix(), times}))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	output.SetEscapeHTML(false)
	for _, zone := range zoneNames {
		for _, day := range zones[zone] {
			midnight, err := time.Parse(time.DateOnly, day)
			check(err)
			for _, schedule := range aroundChanges {
				// From a day before to a day after it by UTC: some before, some in the middle of it.
				for i := 0; i < 3; i++ {
					write(schedule, zone, midnight.Add(time.Duration(random.Intn(48*3600)-24*3600)*time.Second))
				}
			}
		}
	}
	ordinary := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	for i, schedule := range curious {
		write(schedule, "UTC", ordinary)
		write(schedule, zoneNames[i%len(zoneNames)], ordinary.AddDate(0, random.Intn(60), random.Intn(30)))
	}
	for i := 0; i < randomLines; i++ {
		zone := zoneNames[i%len(zoneNames)]
		after := time.Date(2022, 1, 1, 0, 0, random.Intn(13*365*86400), 0, time.UTC)
		if i%2 == 0 {
			days := zones[zone]
			midnight, err := time.Parse(time.DateOnly, days[random.Intn(len(days))])
			check(err)
			after = midnight.Add(time.Duration(random.Intn(72*3600)-36*3600) * time.Second)
		}
		write(randomSchedule(), zone, after)
	}
}
