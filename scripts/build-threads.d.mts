export declare function buildThreads(directory: string): Promise<string[]>;
export declare function setup(): Promise<void>;
