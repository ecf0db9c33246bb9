/** How a layout in a directory is named where an image is asked for. */

export interface LayoutReference {
  readonly directory: string;
  /** The ref name inside of the layout; needed only where it holds several images. */
  readonly name?: string | undefined;
}

/**
 * Reads `oci:DIR[:NAME]` or BuildKit's `oci-layout://DIR[:NAME]`; undefined for everything else. A directory after `oci:` has
 * to look like one (`/`, `./`, `../`), because `oci:22` is an image.
 */
export function parseLayoutReference(text: string): LayoutReference | undefined {
  const match = /^(?:oci-layout:\/\/|oci:(?=\.{0,2}\/))([^:@]+)(?:[:@](.+))?$/s.exec(text);
  if (!match) return undefined;
  return match[2] === undefined ? { directory: match[1]! } : { directory: match[1]!, name: match[2] };
}
