#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Prints the thirteenth message: an attachment of about 5 MB, the same bytes in every run.
use strict;
use warnings;

my ($x, $want) = (42, 5 * 1024 * 1024);
print <<"HEAD";
From: Ruth Hill <ruth\@sender.demo>
To: Ann Brook <ann\@receiver.demo>
Subject: An attachment of five megabytes
Date: Tue, 04 Mar 2025 10:11:12 +0000
Message-ID: <demo13\@sender.demo>
MIME-Version: 1.0
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

HEAD
my @digits = ('A' .. 'Z', 'a' .. 'z', '0' .. '9', '+', '/');
for (my $n = 0; $n < $want; $n += 77) {
    my $line = '';
    for (1 .. 76) {
        $x = ($x * 1103515245 + 12345) & 0x7fffffff;
        $line .= $digits[$x >> 16 & 63];
    }
    print "$line\n";
}
