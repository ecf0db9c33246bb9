/** Which images of a store a filter means; the words are Docker's. */
import { parseDuration } from "../support/durations.js";
import { AegisError } from "../support/errors.js";
import { familiarName, familiarRepository, parseReference } from "./references.js";
import { type ImageStore, type ImageSummary, imageNotFound } from "./store.js";

type Predicate = (image: ImageSummary) => boolean | Promise<boolean>;

const shape = /^(dangling|reference|until|label|before|since)(!?=)(.+)$/;

/** Images that every filter lets through, newest first. @throws AegisError BAD_FILTER, IMAGE_NOT_FOUND */
export async function selectImages(store: ImageStore, filters: readonly string[]): Promise<readonly ImageSummary[]> {
  const images = await store.list();
  const groups = new Map<string, Predicate[]>();
  for (const filter of filters) {
    const [, key, operator, value] = shape.exec(filter) ?? [];
    if (key === undefined || value === undefined) throw badFilter(filter);
    const predicate = predicates[key]!(store, images, value, filter);
    const negated = operator === "!=";
    const group = key === "reference" ? key : filter;
    groups.set(group, [...(groups.get(group) ?? []), negated ? async (it) => !(await predicate(it)) : predicate]);
  }
  const selected: ImageSummary[] = [];
  for (const image of images) {
    let fits = true;
    // Patterns of references are alternatives, everything else narrows.
    for (const group of groups.values()) fits &&= (await Promise.all(group.map((test) => test(image)))).some(Boolean);
    if (fits) selected.push(image);
  }
  return selected.sort((a, b) => createdAt(b) - createdAt(a));
}

const createdAt = (image: ImageSummary): number => Date.parse(image.created ?? "") || 0;

const predicates: Readonly<
  Record<string, (store: ImageStore, images: readonly ImageSummary[], value: string, filter: string) => Predicate>
> = {
  dangling(_store, _images, value, filter) {
    if (!/^(true|false|1|0)$/.test(value)) throw badFilter(filter);
    const wanted = value === "true" || value === "1";
    return (image) => (image.names.length === 0) === wanted;
  },
  reference(_store, _images, value) {
    return (image) => image.names.some((name) => matchesReference(name, value));
  },
  until(_store, _images, value) {
    const limit = parseMoment(value);
    return (image) => createdAt(image) < limit;
  },
  label(store, _images, value) {
    const equals = value.indexOf("=");
    const key = equals < 0 ? value : value.slice(0, equals);
    return async (image) => {
      const found = (await store.resolve(image.target.digest))?.config.config?.Labels?.[key];
      return found !== undefined && (equals < 0 || found === value.slice(equals + 1));
    };
  },
  before: (store, images, value) => relative(store, images, value, (image, other) => image < other),
  since: (store, images, value) => relative(store, images, value, (image, other) => image > other),
};

function relative(
  store: ImageStore,
  images: readonly ImageSummary[],
  text: string,
  compare: (image: number, other: number) => boolean,
): Predicate {
  const found = store.find(text).then((record) => {
    const other = record && images.find((image) => image.target.digest === record.target.digest);
    if (!other) throw imageNotFound(text);
    return createdAt(other);
  });
  return async (image) => compare(createdAt(image), await found);
}

/** A moment in the past: an age (`24h`), a date or RFC 3339, or Unix seconds; in milliseconds. @throws AegisError BAD_FILTER */
export function parseMoment(text: string, now = Date.now()): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const moment = Date.parse(text);
    if (!Number.isNaN(moment)) return moment;
    throw badFilter(`until=${text}`);
  }
  return now - parseDuration(text);
}

/** Go's path.Match on the familiar name, its repository, or with any tag. */
function matchesReference(name: string, pattern: string): boolean {
  const reference = parseReference(name);
  const forms = [familiarName(reference), familiarRepository(reference), name];
  const expression = new RegExp(
    `^${pattern
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replace(/\*/g, "[^/]*")
      .replace(/\?/g, "[^/]")}$`,
  );
  return forms.some((form) => expression.test(form));
}

const badFilter = (filter: string): AegisError =>
  new AegisError("BAD_FILTER", `"${filter}" is not a filter for images`, {
    hint: "use dangling=true, reference=PATTERN, until=24h, label=KEY=VALUE, before=IMAGE or since=IMAGE",
  });
