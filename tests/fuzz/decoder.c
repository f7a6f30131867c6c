/* The plan decoder (cshim/init/decode.c): whatever it calls valid can be walked within its bytes. */
#include DECODE
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A block of exactly this size, so that every byte beyond it is the sanitizer's. */
	uint8_t *plan = aligned_alloc(8, size ? (size + 7) / 8 * 8 : 8);
	volatile uint64_t sum = 0;
	memcpy(plan, data, size);
	if (size % 8 == 0 && plan_valid(plan, size)) {
		const struct step *s = plan_first(plan);
		for (uint32_t i = 0; i < ((struct plan_header *)plan)->steps; i++, s = step_after(s)) {
			for (uint32_t k = 0; k < s->n_ints; k++)
				sum += s->ints[k];
			const char *text = NULL;
			for (uint32_t k = 0; k < s->n_strs; k++) {
				uint32_t length;
				text = k ? string_after(text) : step_string(s, 0, NULL);
				if (text != step_string(s, k, &length))
					abort();
				for (uint32_t b = 0; b <= length; b++)
					sum += (uint8_t)text[b];
				if (text[length] != '\0' || (!(k < 16 && (shapes[s->kind].binary >> k & 1)) && strlen(text) != length))
					abort();
			}
		}
		if ((const uint8_t *)s != plan + size)
			abort();
	}
	free(plan);
	return 0;
}
