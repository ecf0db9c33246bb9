/** Takes secret values out of text that is about to be stored or shown. */

export type Redactor = (text: string) => string;

/** Shorter values would black out ordinary words; nothing can be hidden by them anyway. */
const shortest = 4;

/**
 * Replaces every occurrence of a value by `<secret NAME>`: as it is, in base64, URL-encoded and JSON-escaped, and each long
 * line of a value with several lines (logs are redacted line by line).
 */
export function createRedactor(secrets: readonly { readonly name: string; readonly value: Uint8Array }[]): Redactor {
  const names = new Map<string, string>();
  for (const { name, value } of secrets) {
    const text = Buffer.from(value).toString("utf8");
    const trimmed = text.trim();
    const forms = [
      text,
      trimmed,
      ...(trimmed.includes("\n") ? trimmed.split(/\r?\n/).filter((line) => line.length >= 8) : []),
      Buffer.from(value).toString("base64"),
      Buffer.from(trimmed).toString("base64"),
      Buffer.from(value).toString("base64url"),
      encodeURIComponent(wellFormed(trimmed)),
      JSON.stringify(trimmed).slice(1, -1),
    ];
    for (const form of forms) if (form.length >= shortest && !names.has(form)) names.set(form, name);
  }
  if (names.size === 0) return (text) => text;
  // Longest first, so that a secret that contains another is replaced whole.
  const forms = [...names.keys()]
    .sort((a, b) => b.length - a.length)
    .map((form) => form.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  const pattern = new RegExp(forms.join("|"), "g");
  return (text) => text.replace(pattern, (form) => `<secret ${names.get(form)}>`);
}

/** Lone surrogates (from invalid UTF-8) make encodeURIComponent throw. */
const wellFormed = (text: string) => Buffer.from(text, "utf8").toString("utf8");
