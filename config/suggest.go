package config

import "strings"

// nearest is the known name that was probably meant: the same but for case and
// punctuation, or a few slips of the finger away.
func nearest(name string, known []string) (near string, ok bool) {
	const longest = 64
	if name == "" || len(name) > longest {
		return "", false
	}
	plain := bare(name)
	least := max(1, len(plain)/3) + 1
	for _, candidate := range known {
		if distance := slips(plain, bare(candidate)); distance < least {
			near, least = candidate, distance
		}
	}
	return near, near != ""
}

func bare(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(name))
}

// slips counts the insertions, deletions, replacements and swaps of neighbours
// that make b of a (optimal string alignment).
func slips(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
