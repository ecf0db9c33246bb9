/** Replaced by the bundler with the version of package.json. */
declare const AEGIS_VERSION: string | undefined;

export const version: string = typeof AEGIS_VERSION === "string" ? AEGIS_VERSION : "0.0.0-source";
