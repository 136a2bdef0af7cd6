package mask_test

import (
	"testing"

	"github.com/callpop/connector/examples/internal/mask"
)

func TestNumbersAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "13812345678": "138****5678", "+8613812345678": "+861****5678", "025-8630 7627": "025****7627",
		"86307627": "****7627", "8630762": "****762", "95588": "****", "anonymous": "****", "１３８１２３４５６７８": "１３８****５６７８",
	} {
		if got := mask.Number(in); got != want {
			t.Errorf("number %q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"": "", "1;2": "1;2", "查询余额": "查询余额", "score:4444, 09:15": "score:4444, 09:15",
		"call 13812345678 back": "call 138****5678 back", "1;3;8;1;2;3;4;5;6;7;8": "138****5678", "(025) 86307627": "(025) ****7627",
		"12a34b56c78": "12a34b56c78",
	} {
		if got := mask.Text(in); got != want {
			t.Errorf("text %q: got %q, want %q", in, got, want)
		}
	}
}
